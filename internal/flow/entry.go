package flow

import (
	"github.com/weirnet/weir/internal/packet"
)

// rerouted is for how long, in nanoseconds, the packets of an end must have been
// missing where they are counted until they are counted where they are seen now.
// The sightings of one packet are a few microseconds apart.
const rerouted = 50e6

// entry is what is remembered of a connection.
type entry struct {
	key     key
	at      int // index in Tracker.entries
	tuple   packet.Tuple
	id      uint64
	first   int64
	last    int64
	lastOwn int64 // without the SYNs of a candidate
	told    int64 // when an update was last sent
	judgeAt int64 // judge again at a packet after this time; 0: never
	counted [2]Counts
	hook    [2]uint32 // where the packets of each end are counted; 0: not yet
	hookAt  [2]int64  // when the last one was
	tcp     tcpState

	tables     uint32 // number of the policy that judged it
	rule       uint32
	shadowRule uint32
	ifindex    uint32 // of the first packet

	// names are those that DNS had answered the destination for when the first packet
	// came: what comes later does not count.
	names []string

	direction    packet.Direction
	verdict      Verdict
	action       Action
	reason       Reason
	shadowAction Action
	end          End
	application  uint8

	sourceIsHigh bool
	prevent      bool
	drop         bool
	lingers      bool // closed, but its end is not told yet: packets are under way
	reject       bool // what is dropped is answered
	closed       bool // over; the entry stays to absorb stragglers
	startTold    bool
	verdictDue   bool
	endTold      bool
	loopback     bool
	neighbor     bool
	own          bool
	held         bool // its packets wait for a verdict
	returns      bool // they did when it opened
	looked       bool // it is looked into
	begun        bool // and there was something to see
	awaits       bool // closed, but its end is not told yet: Settle is to say what it was
	follower     bool // judged under other addresses: passes, is not told of or counted
}

// Counts are packets and IP bytes.
type Counts struct{ Packets, Bytes uint64 }

func (c *Counts) add(p *packet.Packet) {
	c.Packets += uint64(p.Packets)
	c.Bytes += uint64(p.Bytes)
}

func (e *entry) sender(high bool) int {
	if high == e.sourceIsHigh {
		return source
	}
	return destination
}

func (e *entry) setTuple(p *packet.Packet, fromSource bool) {
	e.tuple = p.Tuple
	if !fromSource {
		e.tuple = p.Tuple.Reversed()
	}
}

// counts says whether a packet of that end is counted at this hook: packets are
// where the first was, since a bridge port and its bridge, or both sides of
// loopback, see them twice.
func (e *entry) counts(h *Hook, end int, now int64) bool {
	n := h.Number()
	if e.hook[end] != 0 && e.hook[end] != n && (h.Judged || now-e.hookAt[end] <= rerouted) {
		return false
	}
	e.hook[end], e.hookAt[end] = n, now
	return true
}

// cutReason is the end reason of a connection that is dropped.
func (e *entry) cutReason() End {
	if e.end == EndNone {
		return EndBlocked
	}
	return e.end
}

// idleReason is the end reason of one that is given up.
func (e *entry) idleReason() End {
	if e.drop {
		return e.cutReason()
	}
	return EndTimeout
}

// insert takes a copy of e into the table, which must have room.
func (t *Tracker) insert(e entry) *entry {
	var kept *entry
	if n := len(t.spare); n > 0 {
		kept, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		kept = new(entry)
	}
	*kept = e
	kept.at = len(t.entries)
	t.entries = append(t.entries, kept)
	t.table[e.key] = kept
	if !e.follower {
		t.active++
	}
	return kept
}

// remove takes an entry that is closed, or a follower, out of the table.
func (t *Tracker) remove(e *entry) {
	delete(t.table, e.key)
	last := len(t.entries) - 1
	moved := t.entries[last]
	t.entries[e.at] = moved
	moved.at = e.at
	t.entries[last] = nil
	t.entries = t.entries[:last]
	t.spare = append(t.spare, e)
}
