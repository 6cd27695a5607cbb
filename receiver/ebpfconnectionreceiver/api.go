package ebpfconnectionreceiver

import (
	"go.opentelemetry.io/collector/component"

	"github.com/weirnet/weir/extension/connectionapiextension"
	"github.com/weirnet/weir/internal/telemetry"
)

// attach joins the engine to the extensions that answer for it (connection_api).
func (r *connectionReceiver) attach(host component.Host) {
	for _, extension := range host.GetExtensions() {
		api, ok := extension.(connectionapiextension.Attachable)
		if !ok {
			continue
		}
		r.apis = append(r.apis, api)
		r.detach = append(r.detach, api.Attach(engineOfAPI{r.engine, r.stats}))
	}
}

// leave takes the engine from them again.
func (r *connectionReceiver) leave() {
	for _, detach := range r.detach {
		detach()
	}
	r.detach = nil
}

// engineOfAPI is the engine in the words of the API.
type engineOfAPI struct {
	connectionEngine
	recent *recentStats
}

func (e engineOfAPI) State() connectionapiextension.EngineState {
	s := e.recent.get()
	return connectionapiextension.EngineState{
		FlowEntries: s.FlowEntries, FlowCapacity: s.FlowCapacity,
		Interfaces: s.Interfaces, Generation: s.Generation, Rules: s.Rules, Lost: s.Lost,
	}
}

// tellConnections and tellExchanges tell those that take what the engine tells before
// the pipelines do: the audit log, and the APIs.
func (r *connectionReceiver) tellConnections(records []telemetry.Connection) {
	if r.events != nil {
		r.events.Connections(records)
	}
	for _, api := range r.apis {
		api.Connections(records)
	}
}

func (r *connectionReceiver) tellExchanges(records []telemetry.Exchange) {
	if r.events != nil {
		r.events.Exchanges(records)
	}
	for _, api := range r.apis {
		api.Exchanges(records)
	}
}
