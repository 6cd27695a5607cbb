// Package flow follows connections packet by packet: it is the reference for the
// kernel's tracker (bpf/), and what a replayed capture goes through. It is pure:
// no goroutines, no clock but the one that is passed in, no I/O.
package flow

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// Config is what a Tracker is made with.
type Config struct {
	// MaxEntries is the size of the table: connections and followers.
	MaxEntries int
	// NewID draws the id of a connection; nil: at random.
	NewID func() uint64
	// Names are those that DNS has answered an address for; nil: none are known. The
	// slice is not written to.
	Names func(addr netip.Addr, now int64) []string
}

// Hook says where a packet was seen, and what only the host knows of it.
type Hook struct {
	// Interface is the number of the interface, from 1.
	Interface uint32
	// Egress: on its way out of the interface.
	Egress bool
	// Judged: it came in by another watched interface and was judged there.
	Judged bool
	// SentByHost: it leaves this host, and did not come in by any interface.
	SentByHost bool
	// ForHost: it comes in, to an address of this host, or by broadcast or
	// multicast. Neither of the two: it is forwarded.
	ForHost bool
	// Above: the stack shows the interface what it has taken from another beneath it,
	// as it does bridges, VLAN devices and loopback.
	Above bool
	// Flooded: a bridge shows itself what is for another host (PACKET_OTHERHOST);
	// the stack drops it.
	Flooded bool
	// Loopback: the interface is a loopback.
	Loopback bool
	// OwnProcess: a socket of Weir's own process sent it.
	OwnProcess bool
}

// Number tells hooks apart.
func (h *Hook) Number() uint32 {
	n := h.Interface << 1
	if h.Egress {
		n |= 1
	}
	return n
}

// Answer is what the sender of a dropped packet is told, or both ends. Whoever
// sends answers may bound their rate.
type Answer uint8

// The answers.
const (
	NoAnswer Answer = iota
	// RejectSender: an RST or an ICMP error goes back.
	RejectSender
	// ResetBoth: each end gets an RST as if from the other.
	ResetBoth
)

// Result is what becomes of a packet.
type Result struct {
	Drop   bool
	Answer Answer
	// Held: it waits for a verdict.
	Held bool
}

// Tracker follows connections. It is not for concurrent use.
type Tracker struct {
	config  Config
	table   map[key]*entry
	entries []*entry // all of the table, for Sweep
	spare   []*entry
	version *version

	counters [counterCount]uint64
	verdicts [verdictKinds]uint64
	traffic  [trafficKinds]Counts
	active   uint64
	facts    policy.Facts // of the judgement at hand
	seen     *entry       // of the last packet; nil: it has none
	sender   int          // the end that sent it
	look     Look
	hold     Hold
	sighting Sighting
	sighted  bool
	cause    policy.Cause // why facts cannot be had; 0: not seen
}

// New makes a Tracker whose policy is detect mode without rules.
func New(c Config) *Tracker {
	c.MaxEntries = max(c.MaxEntries, 1)
	if c.NewID == nil {
		c.NewID = rand.Uint64
	}
	t := &Tracker{config: c, table: make(map[key]*entry)}
	t.Swap(policy.Observe())
	return t
}

// Timeouts are the idle times after which a connection is over.
type Timeouts struct {
	TCP time.Duration
	// TCPClosing is for TCP that was refused, never answered, or is closing.
	TCPClosing time.Duration
	UDP        time.Duration
	// ICMP is for ICMP and every other protocol.
	ICMP time.Duration
}

// Process takes a packet that Decode and Follow have read, with what they made of
// it. now is in nanoseconds of any clock that does not go back. It appends what is
// to be told to events.
func (t *Tracker) Process(p *packet.Packet, outcome packet.Outcome, h *Hook, now int64, events []Event) (Result, []Event) {
	t.seen, t.sighted = nil, false
	if h.Flooded {
		t.counters[OtherHost]++
		return Result{}, events
	}
	if outcome == packet.NotIP && p.EtherType == packet.EtherTypeARP {
		return Result{}, events
	}
	if outcome != packet.Decoded {
		if h.Judged {
			return Result{}, events
		}
		return t.undecodable(outcome), events
	}
	k, high := keyOf(p)
	e := t.table[k]
	// Before the error's own entry: one that quotes nothing known would else
	// stand in the way of those that do.
	if p.IsError && t.isRelated(p) {
		if !h.Judged {
			t.counters[RelatedICMP]++
		}
		return Result{}, events
	}
	if e == nil && h.Judged {
		if e = t.openFollower(k, high); e == nil {
			return Result{}, events
		}
	}
	if e != nil && e.follower {
		return t.processFollower(e, k, high, p, h, now, events)
	}
	if e == nil {
		return t.processNew(k, high, p, h, now, events)
	}
	end := e.sender(high)
	if h.Judged && e.drop && e.tcp.isTurned(p, end) {
		return Result{}, events // it was let pass where it came in
	}
	if !h.Judged && p.Protocol == packet.TCP {
		switch what := e.tcp.opening(p, end, e.closed, e.drop); {
		case what == candidate && end == destination:
			return t.processTurned(e, high, p, h, now, events)
		case what == candidate:
			return t.processEntry(e, p, h, end, candidate, now, events)
		case what == reopens:
			return t.reopen(e, reopens, high, p, h, now, events)
		case e.resumes(p, end):
			return t.reopen(e, resumes, high, p, h, now, events)
		}
	}
	return t.processEntry(e, p, h, end, continues, now, events)
}

// processNew takes the first packet of a connection.
func (t *Tracker) processNew(k key, high bool, p *packet.Packet, h *Hook, now int64, events []Event) (Result, []Event) {
	var first entry
	t.openEntry(&first, k, high, p, h, now)
	decision := t.judgeFirst(&first, p, continues, false, now)
	if len(t.entries) >= t.config.MaxEntries {
		t.counters[TableFull]++
		if first.held {
			first.held, t.cause = false, policy.Overload
			t.judge(&first, now)
			t.cause = 0
		}
		return Result{Drop: first.drop}, events
	}
	e := t.insert(first)
	t.countJudgement(e, decision)
	return t.processEntry(e, p, h, e.sender(high), continues, now, events)
}

// openEntry fills in the entry of the connection that p begins.
func (t *Tracker) openEntry(e *entry, k key, high bool, p *packet.Packet, h *Hook, now int64) {
	fromSource := senderIsSource(p)
	*e = entry{
		key: k, id: t.config.NewID(), first: now, last: now, told: now, ifindex: h.Interface,
		direction: directionOf(h, fromSource), sourceIsHigh: high == fromSource,
		neighbor: p.IPVersion == 6 && p.HopLimit == 255, loopback: h.Loopback, own: h.OwnProcess,
	}
	e.setTuple(p, fromSource)
	if t.config.Names != nil {
		e.names = t.config.Names(e.tuple.Destination, now)
	}
}

// processEntry takes a packet of a connection that has an entry, where it may be a
// candidate's SYN.
func (t *Tracker) processEntry(e *entry, p *packet.Packet, h *Hook, end int, what opening, now int64, events []Event) (Result, []Event) {
	t.seen, t.sender = e, end
	if e.tables != t.version.tables || e.judgeAt != 0 && now >= e.judgeAt {
		t.judgeAgain(e, now)
	}
	counted := e.counts(h, end, now)
	if counted {
		if what == candidate && !e.tcp.has(tcpCandidate) {
			e.lastOwn = e.last
		} else if what != candidate {
			e.lastOwn = now
		}
		e.last = now
		t.count(e, p, end)
	}
	switch {
	case p.Protocol != packet.TCP || isLater(p):
	case what == candidate:
		e.tcp.noteCandidate(p, end, counted, e.prevent && t.hold.On, now)
	case e.drop:
		e.tcp.noteBlocked(p, end)
	case counted:
		if why := e.tcp.track(p, end); why != EndNone {
			// What was on its way to the end that reset it is still to come.
			if why == EndRST && e.tcp.has(tcpData) && !e.closed {
				e.lingers = true
			}
			t.close(e, why)
		}
		e.tcp.settle(end)
	}
	// Another interface has let it pass.
	seenBefore := h.Judged || !h.Egress && h.Above
	var result Result
	turned := what == candidate && end == destination
	switch {
	case !e.drop || turned:
	case seenBefore && e.closed && p.Protocol == packet.TCP && !isLater(p) && p.PayloadLength == 0 && flagged(p, packet.RST):
		return result, events // the end of a connection that was cut, on its way to the other hook
	default:
		result = t.blocked(e, p)
	}
	switch {
	case e.drop && !turned:
	case what == candidate && p.PayloadLength > 0 && e.prevent && t.hold.On:
		t.counters[SYNDropped]++
		result.Drop = true
	case e.held && what != candidate && (counted || !seenBefore):
		result = t.holdPacket(e, p, end)
	}
	if counted && e.looked && what != candidate && !e.drop {
		t.sight(e, p, end)
	}
	if !e.startTold || e.verdictDue || e.endDue() {
		events = e.tellDue(events)
	}
	return result, events
}

func (t *Tracker) close(e *entry, why End) {
	if e.closed {
		return
	}
	e.closed = true
	e.end = why
	t.active--
}

func isLater(p *packet.Packet) bool { return p.IsFragment && p.FragmentOffset > 0 }
