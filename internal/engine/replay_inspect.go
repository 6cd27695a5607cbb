package engine

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

// namesOf are the names that DNS has answered an address for, as far as the capture
// shows.
func (r *Replay) namesOf(addr netip.Addr, now int64) []string {
	return r.names.Lookup(addr, time.Unix(0, now))
}

// sighted is a packet for the inspector, with the connection it is of.
type sighted struct {
	of     inspector.Connection
	packet inspector.Packet
}

// look shows the packet that was decoded last to the inspector, and settles what it
// finds. A fragmented one is shown when all its fragments are there.
func (r *Replay) look(outcome packet.Outcome) {
	p := &r.decoded
	if p.Protocol != packet.TCP && p.Protocol != packet.UDP || p.HasOddFlags {
		return
	}
	var l *sighted
	if of, ok := r.tracker.Seen(); ok && outcome == packet.Decoded {
		l = &sighted{inspector.Connection{
			ID: of.ID, Tuple: of.Tuple, Direction: of.Direction, FirstSeen: time.Unix(0, of.First).UTC(),
			Names: of.Names, Own: of.Own, Loopback: of.Loopback,
			// It was open when the recording began.
			Kept: of.Midstream,
		}, inspector.Packet{Time: r.now.UTC(), End: of.End, Seq: p.Seq, Ack: p.Ack, Flags: p.TCPFlags}}
	}
	switch {
	case p.IsFragment && outcome != packet.Malformed:
		r.lookAtFragment(l)
	case l != nil:
		l.packet.Payload = p.CapturedPayload(r.frame.Data)
		l.packet.Missing = p.PayloadLength - len(l.packet.Payload)
		r.show(l)
	}
}

func (r *Replay) show(l *sighted) {
	r.inspect.Packet(&l.of, &l.packet)
	r.settle()
}

// lookAtFragment shows what the fragment has made whole. l is what is known by it; nil
// for one that came before its first.
func (r *Replay) lookAtFragment(l *sighted) {
	if r.decoded.FragmentOffset > 0 {
		l = nil
	}
	whole, first, ok := r.whole.Add(&r.decoded, r.frame.Data, l, r.now)
	if !ok {
		return
	}
	first.packet.Time = r.now.UTC()
	if first.of.Tuple.Protocol == packet.UDP {
		first.packet.Payload, first.packet.Missing = datagram(whole, len(whole))
	} else {
		const offset = 12
		first.packet.Payload = whole[min(int(whole[offset]>>4)*4, len(whole)):]
	}
	r.show(&first)
}

// lookAtBeginning shows the beginning of a datagram the rest of which never came. Of TCP
// it is sent again, in other fragments.
func (r *Replay) lookAtBeginning(l sighted, beginning []byte, length int) {
	if l.of.Tuple.Protocol != packet.UDP {
		return
	}
	l.packet.Payload, l.packet.Missing = datagram(beginning, length)
	r.show(&l)
}

// datagram is the payload of a UDP datagram, as far as it is there, and how many bytes of
// it are missing.
func datagram(data []byte, length int) (payload []byte, missing int) {
	const header = 8
	length = max(length, int(binary.BigEndian.Uint16(data[4:])))
	payload = data[header:min(len(data), max(int(binary.BigEndian.Uint16(data[4:])), header))]
	return payload, max(length-len(data), 0)
}

// settle takes what the inspector has found.
func (r *Replay) settle() {
	found := r.inspect.Settlements()
	said := r.inspect.Exchanges()
	if len(found) == 0 && len(said) == 0 {
		return
	}
	r.events = r.events[:0]
	v := r.versions.latest()
	for i := range found {
		s := &found[i]
		_, r.events = r.tracker.Settle(&flow.Settlement{
			ID: s.ID, Tuple: s.Tuple, Judged: s.Action != 0, Tables: s.Tables, Rule: s.Rule,
			Action: flow.Action(s.Action), Reason: flow.Reason(s.Reason), Reject: v.rejectOf(s.Rule),
			ShadowRule: s.Matched, ShadowAction: flow.Action(s.ShadowAction),
			JudgeAt: unixNano(s.JudgeAt), Application: applicationNumber(s.Application),
		}, r.events)
	}
	observed := time.Now()
	for i := range said {
		r.said = append(r.said, said[i])
		r.said[len(r.said)-1].Observed = observed
		r.saidAfter = append(r.saidAfter, len(r.records))
	}
	r.inspect.Reset()
	r.record(false)
}
