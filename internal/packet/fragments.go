package packet

import (
	"net/netip"
	"slices"
	"time"
)

// How long a datagram may take to arrive, from its first fragment on: Linux's
// ipfrag_time, and RFC 8200 4.5.
const (
	fragmentTimeout4 = 30 * time.Second
	fragmentTimeout6 = 60 * time.Second
)

// nextHook: a packet passes from one hook to the next in microseconds. A first
// fragment that comes later than this at another hook begins a datagram of its own.
const nextHook = 50 * time.Millisecond

// MaxPieces is the number of separate places of one datagram whose fragments
// may have come, before those between. Fragments in order are one piece.
const MaxPieces = 8

// FragmentCounts counts what became of fragments.
type FragmentCounts struct {
	First     uint64 // first fragments remembered
	Followed  uint64 // later fragments given the ports of their first
	Orphaned  uint64 // later fragments whose first was not seen, or too long ago
	Overlaps  uint64 // later fragments of bytes that another already brought
	Scattered uint64 // later fragments beyond MaxPieces
	Evicted   uint64 // first fragments forgotten before their time, for want of room
}

// Fragments gives later fragments the ports of their first. It holds a bounded
// number of first fragments and forgets the oldest. Not for concurrent use.
//
// Later fragments pass only for bytes that no fragment brought since the first:
// so none rewrites the header that was judged, and the payload is the same
// however the receiver resolves overlaps. Those that come before the first stay
// LaterFragment: whoever enforces must not let them pass. At another hook (a bridge
// after its port, a VLAN's device after the one below) the same fragments come
// again: there, those that came where the datagram was first seen pass.
type Fragments struct {
	Counts FragmentCounts

	slots map[fragmentKey]int
	ring  []datagram // in the order of their first fragments, from next on
	next  int
}

// fragmentKey is what a receiver reassembles by: of IPv6 the protocol is no part
// of it (RFC 791 3.2, RFC 8200 4.5).
type fragmentKey struct {
	source, destination netip.Addr
	zone                Zone
	id                  uint32
	protocol            uint8
	version             uint8 // 0 in a slot that holds nothing
}

type datagram struct {
	key           fragmentKey
	started       time.Time
	tuple         Tuple
	quoted        Tuple
	isReply       bool
	isError       bool
	hasQuote      bool
	quotedIsReply bool
	hook          uint32 // where the first was seen
	head          uint16 // where the first ends, in fragmentUnits
	used          uint8
	pieces        [MaxPieces]piece
}

// piece is a part that came, from start to before end, in fragmentUnits.
type piece struct{ start, end uint16 }

// NewFragments returns one that remembers limit first fragments, at least one.
func NewFragments(limit int) *Fragments {
	limit = max(limit, 1)
	return &Fragments{slots: make(map[fragmentKey]int), ring: make([]datagram, limit)}
}

// Follow takes the outcome of p.Decode and returns it, or what it becomes: a
// LaterFragment whose first is known is Decoded (ports, ICMP fields and protocol
// are then the first's), or Malformed where it overlaps. hook is a number for where
// the packet is seen, now is its time.
func (c *Fragments) Follow(p *Packet, outcome Outcome, hook uint32, now time.Time) Outcome {
	if !p.IsFragment || outcome != Decoded && outcome != LaterFragment {
		return outcome
	}
	key := fragmentKey{p.Source, p.Destination, p.Zone, p.FragmentID, p.Protocol, p.IPVersion}
	if p.IPVersion == 6 {
		key.protocol = 0
	}
	came := piece{
		uint16(p.FragmentOffset / fragmentUnit),
		uint16((p.FragmentOffset + p.FragmentLength + fragmentUnit - 1) / fragmentUnit),
	}
	if outcome == Decoded {
		c.remember(key, p, came, hook, now)
		return Decoded
	}
	d := c.find(key, now)
	if d == nil {
		c.Counts.Orphaned++
		return LaterFragment
	}
	switch d.add(came, hook) {
	case Overlap:
		c.Counts.Overlaps++
		return p.malformed(Overlap)
	case Scattered:
		c.Counts.Scattered++
		return p.malformed(Scattered)
	}
	c.Counts.Followed++
	p.Tuple = d.tuple
	p.IsReply, p.IsError = d.isReply, d.isError
	p.HasQuote, p.Quoted, p.QuotedIsReply = d.hasQuote, d.quoted, d.quotedIsReply
	return Decoded
}

// remember notes a first fragment. One of a datagram that is known begins it
// anew: 16 bits of identification come round within the timeout.
func (c *Fragments) remember(key fragmentKey, p *Packet, came piece, hook uint32, now time.Time) {
	if at, ok := c.slots[key]; ok {
		if known := &c.ring[at]; known.hook != hook && now.Sub(known.started) <= nextHook {
			return
		}
		c.ring[at].key.version = 0
	}
	d := &c.ring[c.next]
	if d.key.version != 0 {
		if !d.isOver(now) {
			c.Counts.Evicted++
		}
		delete(c.slots, d.key)
	}
	*d = datagram{
		key: key, started: now, tuple: p.Tuple, quoted: p.Quoted, isReply: p.IsReply,
		isError: p.IsError, hasQuote: p.HasQuote, quotedIsReply: p.QuotedIsReply,
		hook: hook, head: came.end, used: 1,
	}
	d.pieces[0] = came
	c.slots[key] = c.next
	c.next = (c.next + 1) % len(c.ring)
	c.Counts.First++
}

func (c *Fragments) find(key fragmentKey, now time.Time) *datagram {
	at, ok := c.slots[key]
	if !ok || c.ring[at].isOver(now) {
		return nil
	}
	return &c.ring[at]
}

func (d *datagram) isOver(now time.Time) bool {
	if d.key.version == 4 {
		return now.Sub(d.started) > fragmentTimeout4
	}
	return now.Sub(d.started) > fragmentTimeout6
}

// hasCome says whether all of a piece came before, other than in the first
// fragment, whose header nothing may rewrite.
func (d *datagram) hasCome(came piece) bool {
	return came.start >= d.head && slices.ContainsFunc(d.pieces[:d.used], func(there piece) bool {
		return there.start <= came.start && came.end <= there.end
	})
}

// add notes a later fragment; 0, Overlap or Scattered.
func (d *datagram) add(came piece, hook uint32) Reason {
	if d.hook != hook && d.hasCome(came) {
		return 0
	}
	for _, there := range d.pieces[:d.used] {
		if came.start < there.end && there.start < came.end {
			return Overlap
		}
	}
	for i := range d.pieces[:d.used] {
		there := &d.pieces[i]
		switch {
		case there.end == came.start:
			there.end = came.end
			return 0
		case there.start == came.end:
			there.start = came.start
			return 0
		}
	}
	if int(d.used) == MaxPieces {
		return Scattered
	}
	d.pieces[d.used] = came
	d.used++
	return 0
}
