package flow

import "github.com/weirnet/weir/internal/packet"

// Look says which connections are looked into, of those that open from then on.
// Never are those of Weir itself, those that a safeguard decides, those that are
// blocked at once, and those of which the beginning was not seen.
type Look struct {
	// TCP and UDP: all of that transport.
	TCP, UDP bool
	// Pending: those of either whose walk needs facts that are not known yet.
	Pending bool
}

// SetLook puts that in force.
func (t *Tracker) SetLook(l Look) { t.look = l }

// wants says whether a connection that p opens, and that was judged, is looked
// into. accepted: p is the answer to a SYN that was seen.
func (l Look) wants(p *packet.Packet, e *entry, accepted bool) bool {
	if e.own || e.drop || e.reason == ReasonSafeguard || isLater(p) {
		return false
	}
	all := l.UDP
	switch p.Protocol {
	case packet.TCP:
		if !accepted && (p.HasOddFlags || p.TCPFlags&(packet.SYN|packet.ACK) != packet.SYN) {
			return false
		}
		all = l.TCP
	case packet.UDP:
	default:
		return false
	}
	return all || l.Pending && e.reason == ReasonPending
}

// Sighting is a packet of a connection that is looked into, seen for the first
// time.
type Sighting struct {
	ID        uint64
	Tuple     packet.Tuple // source is the initiator's end
	Direction packet.Direction
	Interface uint32
	First     int64
	// Tables is the number of the policy that judged it last, with Rule, Verdict,
	// Action and Reason, as in Event.
	Tables, Rule uint32
	Verdict      Verdict
	Action       Action
	Reason       Reason
	Prevent      bool
	End          int // the sender: 0 is the source, 1 the destination
	// Closed: the connection is over. Its EventEnd waits for a Settlement with Done,
	// or for a sweep.
	Closed bool
}

// Sighted tells of the packet that Process was given last, if there is something to
// see in it: payload, or the answer to a SYN where rules have not decided, or a FIN or
// RST of a connection of which there was something before.
func (t *Tracker) Sighted() (*Sighting, bool) { return &t.sighting, t.sighted }

// sight notes a packet that is let pass, which the entry's end has sent.
func (t *Tracker) sight(e *entry, p *packet.Packet, end int) {
	tcp := p.Protocol == packet.TCP
	sees := !isLater(p) && !(tcp && p.HasOddFlags)
	answers := p.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK && e.reason == ReasonPending
	begins := sees && (!tcp || p.PayloadLength > 0 || answers)
	e.begun = e.begun || begins
	t.sighted = begins || sees && e.begun && p.TCPFlags&(packet.FIN|packet.RST) != 0
	if t.sighted {
		t.sighting = Sighting{
			ID: e.id, Tuple: e.tuple, Direction: e.direction, Interface: e.ifindex, First: e.first,
			Tables: e.tables, Rule: e.rule, Verdict: e.verdict, Action: e.action, Reason: e.reason,
			Prevent: e.prevent, End: end, Closed: e.closed,
		}
	}
	if e.closed {
		e.awaits = e.begun && !e.endTold
		e.looked = false
	}
}
