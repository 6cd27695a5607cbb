package engine

import "time"

// heldCounts are what became of packets that were held.
type heldCounts struct {
	released uint64
	waited   time.Duration // all that were released together
	// The rest was dropped, by cause.
	blocked    uint64 // their connection or query is blocked
	suspect    uint64 // with bytes that came before, and may have had another content
	repeated   uint64 // copies of what waits
	overLimit  uint64 // more than is held of a connection
	unreleased uint64 // could not be sent on
	ended      uint64 // waited when their connection ended
}

// HoldStats are what waits for a verdict, and what has.
type HoldStats struct {
	// Connections, Packets and Bytes wait now.
	Connections, Packets, Bytes int
	// Released counts packets that were sent on, and Waited is how long they had
	// waited together.
	Released uint64
	Waited   time.Duration
	// Dropped counts packets that were not, by cause.
	Dropped map[string]uint64
}

func (l *look) holdStats() HoldStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.heldCounts
	s := HoldStats{Released: c.released, Waited: c.waited, Dropped: map[string]uint64{
		"hold_blocked": c.blocked, "hold_suspect": c.suspect, "hold_repeated": c.repeated,
		"hold_over_limit": c.overLimit, "hold_unreleased": c.unreleased, "hold_ended": c.ended,
	}}
	for _, k := range l.holding {
		if k.hold.bytes > 0 {
			s.Connections++
			s.Packets += len(k.hold.waiting[0]) + len(k.hold.waiting[1])
			s.Bytes += k.hold.bytes
		}
	}
	return s
}
