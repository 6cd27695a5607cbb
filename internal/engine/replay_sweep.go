package engine

import (
	"time"

	"github.com/weirnet/weir/internal/flow"
)

// A pass over the flow table comes every second of the capture. With many entries
// and few packets that is work for nothing, so that it comes less often then.
const (
	manyEntries   = 10000
	sweptPerFrame = 8
	longestSweep  = 30 * time.Second
)

// advance puts the clock at the time of a frame. Frames that were recorded out of
// order do not put it back.
func (r *Replay) advance(to time.Time) {
	if to.After(r.now) {
		r.now = to
	}
	if !r.expiry.IsZero() && !r.now.Before(r.expiry) {
		r.expire(r.expiry)
	}
	idle := r.now.Sub(r.swept)
	entries := r.tracker.Entries()
	if idle < sweepInterval || entries > manyEntries && idle < longestSweep && (r.packets-r.sweptAt)*sweptPerFrame < entries {
		return
	}
	r.swept, r.sweptAt = r.now, r.packets
	r.inspect.Expire(r.now)
	r.settle()
	limits := flow.Timeouts(r.config.Timeouts)
	var found flow.Swept
	found, r.events = r.tracker.Sweep(r.now.UnixNano(), &limits, r.config.UpdateInterval, r.events[:0])
	r.versions.forget(found.OldestTables, func(uint32) bool { return false })
	r.record(true)
}
