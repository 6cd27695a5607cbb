package engine

import (
	"time"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/telemetry"
)

// Connections hands over the live connections, in no order, until visit says false:
// each as a record of the kind ConnectionUpdate, which is valid during the call only.
// A pass over a table of a million takes about a second.
func (e *Engine) Connections(visit func(*telemetry.Connection) bool) error {
	now := time.Now()
	return e.data.Live(func(k *datapath.Event) bool {
		r := e.record(k, now)
		return visit(&r)
	})
}
