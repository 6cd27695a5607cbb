package ebpfconnectionreceiver

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"

	"github.com/weirnet/weir/extension/connectionapiextension"
	"github.com/weirnet/weir/internal/telemetry"
)

// fakeAPI is a connection_api extension.
type fakeAPI struct {
	fakePolicy // for what it takes
	said       []telemetry.Exchange
	engine     connectionapiextension.Engine
}

func (a *fakeAPI) Exchanges(records []telemetry.Exchange) { a.said = append(a.said, records...) }

func (a *fakeAPI) Attach(e connectionapiextension.Engine) (detach func()) {
	a.engine = e
	return func() { a.engine = nil }
}

// An API is joined to the engine, with or without a policy, and told of everything.
func TestAPIIsAttached(t *testing.T) {
	id, log := component.MustNewID("connection_policy"), component.MustNewID("connection_api")
	for name, policy := range map[string]*component.ID{"with a policy": &id, "without": nil} {
		t.Run(name, func(t *testing.T) {
			r, engine := newTestReceiver(t, func(c *Config) { c.Policy = policy })
			engine.statistics = engineStats{FlowEntries: 5, Generation: 3, Lost: map[string]uint64{"a": 1}}
			host, api, source := newTestHost(), &fakeAPI{}, &fakePolicy{}
			host.extensions[log], host.extensions[id] = api, source
			require.NoError(t, r.Start(context.Background(), host))
			engine.sink(connections(telemetry.ConnectionStart, 3))
			engine.exchanges(exchanges())
			expired := telemetry.PolicyChange{Change: telemetry.PolicyExpired}
			loaded := telemetry.PolicyChange{Change: telemetry.PolicyLoaded}
			engine.changed(expired)
			want := []telemetry.PolicyChange{expired}
			if policy != nil {
				source.changed(loaded)
				want = append(want, loaded)
			}
			assert.Len(t, api.connections, 3)
			assert.Len(t, api.said, 4)
			assert.Equal(t, want, api.byItself)
			assert.EqualValues(t, 7, api.counted[0])
			assert.Equal(t, connectionapiextension.EngineState{FlowEntries: 5, Generation: 3, Lost: map[string]uint64{"a": 1}}, api.engine.State())
			var live []uint64
			require.NoError(t, api.engine.Connections(func(c *telemetry.Connection) bool { live = append(live, c.ID); return true }))
			assert.Equal(t, []uint64{7}, live)
			require.NoError(t, r.Shutdown(context.Background()))
			assert.Nil(t, api.engine)
		})
	}
}
