package ebpfconnectionreceiver

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/weirnet/weir/internal/telemetry"
)

func eventually(t *testing.T, condition func() bool, message string) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, time.Millisecond, message)
}

func TestThreeSignals(t *testing.T) {
	r, engine := newTestReceiver(t, func(c *Config) { c.Traces.Connections = tracesAll })
	logs, traces, metrics := new(consumertest.LogsSink), new(consumertest.TracesSink), new(consumertest.MetricsSink)
	r.logs, r.traces, r.metrics = logs, traces, metrics
	engine.totals = telemetry.Totals{Since: began, Active: 2}
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))

	records := connections(telemetry.ConnectionStart, 2)
	engine.sink(records)
	clear(records) // the engine uses the slice again
	engine.sink(connections(telemetry.ConnectionEnd, 2))
	engine.changed(telemetry.PolicyChange{Change: telemetry.PolicyExpired, Time: began})
	eventually(t, func() bool { return logs.LogRecordCount() == 5 && traces.SpanCount() == 2 }, "all is delivered")

	require.NoError(t, r.Shutdown(context.Background()))
	require.Len(t, metrics.AllMetrics(), 1, "the last collection")
	assert.Equal(t, 2, metrics.AllMetrics()[0].MetricCount(), "active and duration")

	first := logs.AllLogs()[0].ResourceLogs().At(0)
	assert.Equal(t, "https://opentelemetry.io/schemas/1.41.0", first.SchemaUrl())
	assert.Equal(t, "github.com/weirnet/weir/receiver/ebpfconnectionreceiver", first.ScopeLogs().At(0).Scope().Name())
	assert.Equal(t, "weir.connection.start", first.ScopeLogs().At(0).LogRecords().At(0).EventName())
}

func TestEventsSwitchedOff(t *testing.T) {
	r, engine := newTestReceiver(t, func(c *Config) {
		c.Events.WeirConnectionStart.Enabled = false
		c.Events.WeirPolicyChange.Enabled = false
	})
	logs := new(consumertest.LogsSink)
	r.logs = logs
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
	engine.sink(append(connections(telemetry.ConnectionStart, 3), connections(telemetry.ConnectionEnd, 1)...))
	engine.changed(telemetry.PolicyChange{Change: telemetry.PolicyLoaded})
	require.NoError(t, r.Shutdown(context.Background()))
	assert.Equal(t, 1, logs.LogRecordCount())
}

func TestSpansOfBlockedConnectionsOnly(t *testing.T) {
	r, engine := newTestReceiver(t, nil)
	traces := new(consumertest.TracesSink)
	r.traces = traces
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
	blocked := connections(telemetry.ConnectionEnd, 3)
	blocked[1].Judgement.Verdict = telemetry.Blocked
	engine.sink(blocked)
	engine.sink(connections(telemetry.ConnectionStart, 1))
	require.NoError(t, r.Shutdown(context.Background()))
	assert.Equal(t, 1, traces.SpanCount())
}

// The policy comes first: a packet between the programs and the policy would
// pass.
func TestPolicyBeforeAttach(t *testing.T) {
	id := component.MustNewID("connection_policy")
	r, engine := newTestReceiver(t, func(c *Config) { c.Policy = &id })
	host, source := newTestHost(), &fakePolicy{}
	host.extensions[id] = source
	require.NoError(t, r.Start(context.Background(), host))
	require.NoError(t, r.Shutdown(context.Background()))
	assert.Equal(t, []string{"apply policy", "start", "shutdown"}, engine.called())
	assert.True(t, source.cancelled)
}

func TestWithoutPolicy(t *testing.T) {
	r, engine := newTestReceiver(t, nil)
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
	require.NoError(t, r.Shutdown(context.Background()))
	assert.Equal(t, []string{"apply nothing", "start", "shutdown"}, engine.called())
}

func TestStartErrors(t *testing.T) {
	wanted, other := component.MustNewID("connection_policy"), component.MustNewIDWithName("connection_policy", "edge")
	policied := func(c *Config) { c.Policy = &wanted }
	for name, test := range map[string]struct {
		config  func(*Config)
		prepare func(*testHost, *fakeEngine)
		want    string
	}{
		"extension missing": {config: policied, want: `policy: there is no extension "connection_policy"; configure a connection_policy extension and list it under service::extensions`},
		"another is there": {
			config:  policied,
			prepare: func(h *testHost, _ *fakeEngine) { h.extensions[other] = &fakePolicy{} },
			want:    `policy: there is no extension "connection_policy"; extensions that hold one: connection_policy/edge`,
		},
		"extension of another type": {
			config:  policied,
			prepare: func(h *testHost, _ *fakeEngine) { h.extensions[wanted] = nopComponent{} },
			want:    `policy: the extension "connection_policy" holds no policy`,
		},
		"policy refused": {
			config: policied,
			prepare: func(h *testHost, e *fakeEngine) {
				h.extensions[wanted] = &fakePolicy{}
				e.applyErr = errors.New("too many rules")
			},
			want: `apply the policy of "connection_policy": too many rules`,
		},
		"datapath": {
			prepare: func(_ *testHost, e *fakeEngine) { e.startErr = errors.New("operation not permitted") },
			want:    "start the datapath: operation not permitted",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, engine := newTestReceiver(t, test.config)
			r.logs, r.traces, r.metrics = consumertest.NewNop(), consumertest.NewNop(), consumertest.NewNop()
			host := newTestHost()
			if test.prepare != nil {
				test.prepare(host, engine)
			}
			err := r.Start(context.Background(), host)
			require.ErrorContains(t, err, test.want)
			assert.Equal(t, "shutdown", engine.called()[len(engine.called())-1], "nothing is left behind")
			require.NoError(t, r.Shutdown(context.Background()), "the Collector may stop what did not start")
		})
	}
}

type nopComponent struct {
	component.StartFunc
	component.ShutdownFunc
}

func TestStatusOfTheDatapath(t *testing.T) {
	r, engine := newTestReceiver(t, func(c *Config) { c.CollectionInterval = time.Millisecond })
	r.metrics = consumertest.NewNop()
	host := newTestHost()
	engine.failTotals(errors.New("map is gone"))
	require.NoError(t, r.Start(context.Background(), host))
	eventually(t, func() bool { return len(host.reported()) == 1 }, "the error is reported, once")
	engine.failTotals(nil)
	eventually(t, func() bool { return len(host.reported()) == 2 }, "so is its end")
	require.NoError(t, r.Shutdown(context.Background()))
	assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}, host.reported())
}

// Start and Shutdown leave nothing behind, also without pipelines and twice.
func TestShutdownTwice(t *testing.T) {
	r, _ := newTestReceiver(t, nil)
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
	require.NoError(t, r.Shutdown(context.Background()))
	require.NoError(t, r.Shutdown(context.Background()))
}
