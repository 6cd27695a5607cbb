package engine

import "github.com/weirnet/weir/internal/telemetry"

// Sink takes what an engine tells, a batch at a time. It must not keep the slices;
// what exchanges point to is the sink's. An Engine's sink must not block, a Replay's
// may. Each function may be called by any goroutine.
type Sink struct {
	Connections func([]telemetry.Connection)
	Exchanges   func([]telemetry.Exchange)
}
