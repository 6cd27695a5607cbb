package flow

import (
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// blocked says what becomes of a packet of a connection that is dropped.
func (t *Tracker) blocked(e *entry, p *packet.Packet) Result {
	tcp := p.Protocol == packet.TCP
	// Why it is cut is known before it ends only of one that was let pass.
	cut := e.end != EndNone
	if cut && !e.closed && e.tcp.has(tcpData) && (e.reject || t.version.policy.Reject != policy.RejectNever) {
		// The packet itself is made the two resets, which an RST or a fragment
		// cannot be: the next one is.
		if isLater(p) || flagged(p, packet.RST) {
			return Result{Drop: true}
		}
		t.close(e, e.end)
		return Result{Drop: true, Answer: ResetBoth}
	}
	if !e.reject {
		return Result{Drop: true}
	}
	if tcp {
		t.close(e, e.cutReason())
	}
	if !isAnswerable(p) {
		return Result{Drop: true}
	}
	return Result{Drop: true, Answer: RejectSender}
}

// isAnswerable: ICMP errors are never answered, nor what has no single sender
// (RFC 1122 3.2.2).
func isAnswerable(p *packet.Packet) bool {
	if isLater(p) || p.IsError {
		return false
	}
	if p.Protocol == packet.TCP {
		return p.TCPFlags&packet.RST == 0
	}
	// The answer quotes a fixed size.
	if p.HasOptions || p.PayloadLength+p.Payload-p.Transport < 8 {
		return false
	}
	if d := p.Destination; d.Is4() {
		return d.As4()[0] < 224
	}
	return !p.Destination.IsMulticast()
}

// undecodable judges what no connection is known of.
func (t *Tracker) undecodable(outcome packet.Outcome) Result {
	v := t.version
	passed, dropped, block := MalformedPassed, MalformedDropped, v.blockMalformed
	switch outcome {
	case packet.NotIP:
		passed, dropped, block = NonIPPassed, NonIPDropped, v.blockNonIP
	case packet.LaterFragment:
		passed, dropped = FragmentPassed, FragmentDropped
	case packet.UnknownLink:
		passed, block = UnknownLinkPassed, false
	}
	if v.prevent && block {
		t.counters[dropped]++
		return Result{Drop: true}
	}
	t.counters[passed]++
	return Result{}
}
