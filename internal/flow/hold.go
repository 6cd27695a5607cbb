package flow

import (
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// Hold says that packets of connections whose verdict needs facts wait for it, in
// prevent mode, of those that open from then on.
type Hold struct {
	On bool
	// OnOpening: from the first packet on, a SYN too.
	OnOpening bool
	// OpenUntil: a TCP connection that is first seen in the middle before then was open
	// already.
	OpenUntil int64
}

// SetHold puts that in force. While it is on, somebody reads what is held, and what needs
// facts and cannot be held is judged as if they could not be had.
func (t *Tracker) SetHold(h Hold) { t.hold = h }

// mayHold says whether a connection that p opens is held, should the policy need
// facts of it. accepted: p is the answer to a SYN that was seen.
func (h Hold) mayHold(p *packet.Packet, e *entry, accepted bool) bool {
	if !h.On || isLater(p) || e.own || e.loopback {
		return false
	}
	if p.Protocol == packet.TCP {
		return accepted || !p.HasOddFlags && p.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN
	}
	return p.Protocol == packet.UDP || h.OnOpening
}

// judgeFirst judges a connection that p opens, and says whether it is held or looked
// into.
func (t *Tracker) judgeFirst(e *entry, p *packet.Packet, what opening, accepted bool, now int64) decision {
	e.held = what != resumes && t.hold.mayHold(p, e, accepted)
	d := t.judge(e, now)
	e.held = e.held && e.prevent && e.reason == ReasonPending
	e.returns = e.held
	e.looked = !e.held && t.look.wants(p, e, accepted)
	return d
}

// wasOpenBefore says whether a connection of which the first packet was just seen
// began before.
func (t *Tracker) wasOpenBefore(e *entry) bool {
	return t.cause == 0 && e.tables == 0 && e.tuple.Protocol == packet.TCP && e.first < t.hold.OpenUntil && !e.own && !e.loopback
}

// mayBeKnown says whether a connection was let pass by an earlier policy, so that
// somebody may know what the present one asks for: its packets wait for that.
func (t *Tracker) mayBeKnown(e *entry) bool {
	return t.cause == 0 && e.tables != 0 && (e.verdict == Allowed || e.verdict == Detected) &&
		(e.tuple.Protocol == packet.TCP || e.tuple.Protocol == packet.UDP) && !e.own && !e.loopback
}

// walkLost is the walk where facts cannot be had.
func (t *Tracker) walkLost(cause policy.Cause) policy.Decision {
	t.counters[Unheld]++
	t.facts.Application = policy.Lost[policy.Application](cause)
	return t.version.policy.Walk(&t.facts)
}

// place is what a packet with payload is to the sequence numbers of its connection:
// where it is none of them, whoever takes it has another connection on the tuple than is
// known here.
type place uint8

const (
	inPlace      place = iota
	unanswered         // nobody has agreed to the numbers yet
	behindEnd          // the connection is over
	acknowledged       // it is over, and its receiver has it
)

func (e *entry) placeOf(p *packet.Packet, end int) place {
	s := &e.tcp
	switch {
	case p.Protocol != packet.TCP || p.PayloadLength == 0:
		return inPlace
	case e.closed && s.of(tcpAcks, end^1) && !after(segmentEnd(p), s.end[end^1].acked):
		return acknowledged
	case e.closed:
		return behindEnd
	case flagged(p, packet.SYN) || s.isAgreed():
		return inPlace
	}
	return unanswered
}

// answer is what on_error says of a packet that cannot be judged now.
func (t *Tracker) answer(cause policy.Cause, passed, dropped Counter) Result {
	if t.version.policy.OnError.For(cause) == policy.Allow {
		t.counters[passed]++
		return Result{}
	}
	t.counters[dropped]++
	return Result{Drop: true}
}

// holdPacket says what becomes of a packet of a connection that is held.
func (t *Tracker) holdPacket(e *entry, p *packet.Packet, end int) Result {
	if p.IsFragment {
		return t.answer(policy.Malformed, HeldFragmentPassed, HeldFragmentDropped)
	}
	switch e.placeOf(p, end) {
	case unanswered:
		return t.answer(policy.NotSeen, HeldUnansweredPassed, HeldUnansweredDropped)
	case behindEnd:
		t.counters[HeldOverDropped]++
		return Result{Drop: true}
	case acknowledged:
		return Result{}
	}
	if p.Protocol == packet.TCP && p.PayloadLength == 0 &&
		!(flagged(p, packet.SYN) && t.hold.OnOpening && e.verdict == Pending) {
		return Result{}
	}
	t.counters[HeldPackets]++
	return Result{Held: true}
}
