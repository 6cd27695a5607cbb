package ebpfconnectionreceiver

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// signals creates the receivers of the three signals of one configuration, on a
// fake engine.
func signals(t *testing.T) (logs, metrics, traces *sharedReceiver, engine *fakeEngine) {
	t.Helper()
	factory, config := NewFactory(), NewFactory().CreateDefaultConfig()
	settings := receivertest.NewNopSettings(metadata.Type)
	l, err := factory.CreateLogs(context.Background(), settings, config, consumertest.NewNop())
	require.NoError(t, err)
	m, err := factory.CreateMetrics(context.Background(), settings, config, consumertest.NewNop())
	require.NoError(t, err)
	tr, err := factory.CreateTraces(context.Background(), settings, config, consumertest.NewNop())
	require.NoError(t, err)
	r, engine := newTestReceiver(t, nil)
	l.(*sharedReceiver).receiver.open = r.open
	return l.(*sharedReceiver), m.(*sharedReceiver), tr.(*sharedReceiver), engine
}

func TestOneInstanceForThreeSignals(t *testing.T) {
	logs, metrics, traces, engine := signals(t)
	assert.Same(t, logs, metrics)
	assert.Same(t, logs, traces)
	assert.NotNil(t, logs.receiver.logs)
	assert.NotNil(t, logs.receiver.metrics)
	assert.NotNil(t, logs.receiver.traces)

	hosts := []*testHost{newTestHost(), newTestHost(), newTestHost()}
	for i, shared := range []*sharedReceiver{logs, metrics, traces} {
		require.NoError(t, shared.Start(context.Background(), hosts[i]))
	}
	config := logs.receiver.config
	assert.Contains(t, receivers.live, config)
	for _, shared := range []*sharedReceiver{logs, metrics, traces} {
		require.NoError(t, shared.Shutdown(context.Background()))
	}
	assert.Equal(t, []string{"apply nothing", "start", "shutdown"}, engine.called())
	assert.NotContains(t, receivers.live, config, "the next one is a new one")
	for _, host := range hosts {
		assert.Equal(t, []componentstatus.Status{
			componentstatus.StatusStarting, componentstatus.StatusStopping, componentstatus.StatusStopped,
		}, host.reported())
	}
}

func TestStartErrorIsRemembered(t *testing.T) {
	logs, metrics, _, engine := signals(t)
	engine.startErr = errors.New("no")
	first, second := newTestHost(), newTestHost()
	require.ErrorContains(t, logs.Start(context.Background(), first), "no")
	require.ErrorContains(t, metrics.Start(context.Background(), second), "no")
	assert.Equal(t, []string{"apply nothing", "start", "shutdown"}, engine.called())
	want := []componentstatus.Status{componentstatus.StatusStarting, componentstatus.StatusPermanentError}
	assert.Equal(t, want, first.reported())
	assert.Equal(t, want, second.reported())
	require.NoError(t, logs.Shutdown(context.Background()))
}

func TestConfigurationsDoNotShare(t *testing.T) {
	logs, _, _, _ := signals(t)
	others, _, _, _ := signals(t)
	assert.NotSame(t, logs, others)
	require.NoError(t, logs.Shutdown(context.Background()))
	require.NoError(t, others.Shutdown(context.Background()))
}

// A host that joins late sees what matters of the past, not all of it.
func TestLateHost(t *testing.T) {
	shared := &sharedHost{}
	shared.Report(componentstatus.NewEvent(componentstatus.StatusStarting))
	for range 100 {
		shared.Report(componentstatus.NewRecoverableErrorEvent(errors.New("no")))
		shared.Report(componentstatus.NewEvent(componentstatus.StatusOK))
	}
	late := newTestHost()
	shared.join(late)
	assert.Equal(t, []componentstatus.Status{componentstatus.StatusStarting, componentstatus.StatusOK}, late.reported())
}
