package flow

import (
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// lingerTime is how long a connection that was reset, and had carried data, must
// be silent until its end is told; and one that is looked into, where Settle says
// nothing.
const lingerTime = time.Second

// Swept is what a pass over the table found.
type Swept struct {
	Active  uint64 // connections that are not over
	Entries uint64 // those that were there
	Ended   uint64 // and were removed
	// OldestTables is the lowest policy number that an entry refers to.
	OldestTables uint32
}

// Active is the number of connections that are not over.
func (t *Tracker) Active() uint64 { return t.active }

// Entries is the number of entries, those of closed connections and followers
// included.
func (t *Tracker) Entries() uint64 { return uint64(len(t.entries)) }

// Sweep ends what is idle at now, and tells of every connection that is not over
// where update is not 0 and has passed since it was last told of so.
func (t *Tracker) Sweep(now int64, limits *Timeouts, update time.Duration, events []Event) (Swept, []Event) {
	found := Swept{OldestTables: ^uint32(0)}
	for i := 0; i < len(t.entries); {
		e := t.entries[i]
		found.Entries++
		if !e.follower {
			found.OldestTables = min(found.OldestTables, e.tables)
		}
		switch {
		case now-e.last > e.idleLimit(limits):
			events = t.end(e, events) // puts another in its place
			found.Ended++
			continue
		case (e.lingers || e.awaits) && now-e.last > int64(lingerTime):
			events = e.finish(events)
		case !e.follower && !e.closed && update > 0 && now-e.told >= int64(update):
			events = e.tell(EventUpdate, now, e.tellDue(events))
			e.told = now
		}
		i++
	}
	found.Active = t.active
	return found, events
}

// Flush ends every connection, in the order of their entries, as if its time were
// over.
func (t *Tracker) Flush(events []Event) []Event {
	for i := range t.entries {
		if e := t.entries[i]; !e.follower {
			t.close(e, e.idleReason())
			events = e.finish(events)
		}
	}
	for len(t.entries) > 0 {
		t.remove(t.entries[len(t.entries)-1])
	}
	return events
}

func (t *Tracker) end(e *entry, events []Event) []Event {
	if !e.follower {
		t.close(e, e.idleReason())
		events = e.finish(events)
	}
	t.remove(e)
	return events
}

// idleLimit is how long e lasts without a packet.
func (e *entry) idleLimit(limits *Timeouts) int64 {
	limit := limits.ICMP
	switch e.key.protocol {
	case packet.TCP:
		limit = limits.TCP
		if e.closed || e.drop || !e.tcp.has(tcpSettled) || e.tcp.of(tcpFIN, source) || e.tcp.of(tcpFIN, destination) {
			limit = limits.TCPClosing
		}
	case packet.UDP:
		limit = limits.UDP
	}
	return int64(limit)
}
