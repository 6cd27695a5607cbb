package connectionapiextension

import (
	"errors"
	"sync"
	"time"

	"github.com/weirnet/weir/extension/connectionpolicyextension"
	"github.com/weirnet/weir/internal/telemetry"
)

// Engine is what the API asks of the engine. The receiver implements it.
type Engine interface {
	// Connections hands over the live connections until visit says false. A record
	// is valid during the call only.
	Connections(visit func(*telemetry.Connection) bool) error
	// Totals takes a snapshot of the counters.
	Totals() (telemetry.Totals, error)
	// State takes a snapshot of the engine's own state.
	State() EngineState
}

// EngineState is what an engine tells of itself.
type EngineState struct {
	FlowEntries, FlowCapacity uint64
	Interfaces                int
	Generation                uint64
	Rules                     int
	// Lost are records that came to nobody, by cause.
	Lost map[string]uint64
}

// Attachable is an extension that a receiver joins its engine to. It hands it all
// that the engine tells, as it does an audit log; PolicyChanged is told of every
// change, whoever made it.
type Attachable interface {
	connectionpolicyextension.EventSink
	// Attach gives it the engine, until detach is called.
	Attach(Engine) (detach func())
}

var errNoEngine = errors.New("no receiver watches connections")

// engines holds the one that is attached.
type engines struct {
	mu      sync.Mutex
	current Engine
}

// Attach implements Attachable.
func (a *api) Attach(e Engine) (detach func()) {
	a.engines.mu.Lock()
	defer a.engines.mu.Unlock()
	a.engines.current = e
	return func() {
		a.engines.mu.Lock()
		defer a.engines.mu.Unlock()
		if a.engines.current == e {
			a.engines.current = nil
		}
	}
}

// get is the engine, if there is one. It may be detached meanwhile, and then gives
// errors.
func (e *engines) get() (Engine, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil {
		return nil, errNoEngine
	}
	return e.current, nil
}

// Counted implements EventSink. The statistics have the counters from the engine.
func (a *api) Counted(time.Time, uint64) {}

// Connections implements EventSink.
func (a *api) Connections(records []telemetry.Connection) { a.feed.connections(records) }

// Exchanges implements EventSink.
func (a *api) Exchanges(records []telemetry.Exchange) { a.feed.exchanges(records) }

// PolicyChanged implements EventSink.
func (a *api) PolicyChanged(change telemetry.PolicyChange) { a.feed.change(change) }
