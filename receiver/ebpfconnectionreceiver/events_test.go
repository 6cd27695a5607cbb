package ebpfconnectionreceiver

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"

	"github.com/weirnet/weir/internal/telemetry"
)

// The extension that holds the policy is told of everything, whatever becomes of it
// in the pipelines: here they are stuck, have room for one, and want no starts.
func TestEventSinkBeforePipelines(t *testing.T) {
	id := component.MustNewID("connection_policy")
	r, engine := newTestReceiver(t, func(c *Config) {
		c.Policy, c.QueueSize = &id, 1
		c.Events.WeirConnectionStart.Enabled = false
	})
	stuck := newStuckLogs(true)
	r.logs = stuck
	host, sink := newTestHost(), &fakePolicy{}
	host.extensions[id] = sink
	require.NoError(t, r.Start(context.Background(), host))
	engine.sink(connections(telemetry.ConnectionEnd, 1))
	<-stuck.entered
	engine.sink(connections(telemetry.ConnectionStart, 50))
	engine.sink(connections(telemetry.ConnectionEnd, 50))
	expired := telemetry.PolicyChange{Change: telemetry.PolicyExpired, Detail: "expired: a"}
	engine.changed(expired)
	sink.changed(telemetry.PolicyChange{Change: telemetry.PolicyLoaded})
	engine.atShutdown = connections(telemetry.ConnectionEnd, 3)
	close(stuck.release)
	require.NoError(t, r.Shutdown(context.Background()))
	assert.Len(t, sink.connections, 104)
	assert.EqualValues(t, 7, sink.counted[0])
	assert.Zero(t, sink.before[0], "the kernel's count comes before any record")
	assert.Equal(t, []telemetry.PolicyChange{expired}, sink.byItself, "what it told itself it knows")
}
