package engine

import "github.com/weirnet/weir/internal/telemetry"

// Sink takes what an engine tells, a batch at a time; it must not keep the slices.
// What exchanges point to is the sink's. A function that is nil means that nobody
// wants its records.
type Sink struct {
	// Connections takes records about connections.
	Connections func([]telemetry.Connection)
	// Exchanges takes records about what was said inside of them.
	Exchanges func([]telemetry.Exchange)
}
