package connectionpolicyextension

import (
	"time"

	"github.com/weirnet/weir/internal/telemetry"
)

// EventSink takes what the engine tells, before any pipeline and whatever becomes
// of it there. The extension connection_policy implements it, for its audit log; a
// receiver hands everything to the extension that it has its policy from.
//
// The methods are called by the engine's reader: they neither block nor keep what
// they are given.
type EventSink interface {
	// Connections takes records about connections, all of them, in the order in
	// which they came.
	Connections([]telemetry.Connection)
	// Exchanges takes records about requests, queries and handshakes.
	Exchanges([]telemetry.Exchange)
	// PolicyChanged takes what happened to the policy without the source's doing:
	// rules that expired.
	PolicyChanged(telemetry.PolicyChange)
	// Counted takes the number of connections that the kernel has blocked, or would
	// have, since its counters began. It is called before the first record and then
	// every few seconds, by another goroutine. Who keeps account of what was blocked
	// sees by it what was never told: of a process that was killed.
	Counted(since time.Time, blocked uint64)
}

// Connections implements EventSink.
func (e *policyExtension) Connections(records []telemetry.Connection) {
	if e.audit != nil {
		e.audit.log.Connections(records)
	}
}

// Exchanges implements EventSink.
func (e *policyExtension) Exchanges(records []telemetry.Exchange) {
	if e.audit != nil {
		e.audit.log.Exchanges(records)
	}
}

// Counted implements EventSink.
func (e *policyExtension) Counted(since time.Time, blocked uint64) {
	if e.audit != nil {
		e.audit.log.Counted(since, blocked)
	}
}

// PolicyChanged implements EventSink.
func (e *policyExtension) PolicyChanged(change telemetry.PolicyChange) {
	if e.audit != nil {
		e.audit.log.PolicyChange(change, "")
	}
}
