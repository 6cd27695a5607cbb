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

// look shows the packet that was decoded last to the inspector, and settles what it
// finds.
func (r *Replay) look() {
	p := &r.decoded
	if p.Protocol != packet.TCP && p.Protocol != packet.UDP || p.HasOddFlags || p.IsFragment && p.FragmentOffset > 0 {
		return
	}
	of, ok := r.tracker.Seen()
	if !ok {
		return
	}
	payload := p.CapturedPayload(r.frame.Data)
	r.inspect.Packet(&inspector.Connection{
		ID: of.ID, Tuple: of.Tuple, Direction: of.Direction, FirstSeen: time.Unix(0, of.First).UTC(),
		Names: of.Names, Own: of.Own, Loopback: of.Loopback,
		// It was open when the recording began.
		Kept: of.Midstream,
	}, &inspector.Packet{
		Time: r.now.UTC(), End: of.End, Seq: p.Seq, Ack: p.Ack, Flags: p.TCPFlags,
		Payload: payload, Missing: r.datagramLength() - len(payload),
	})
	r.settle()
}

// datagramLength is that of the packet's payload, which is more than it holds where
// it is the first fragment of a datagram.
func (r *Replay) datagramLength() int {
	const header = 8
	p := &r.decoded
	if !p.IsFragment || p.Protocol != packet.UDP || p.Transport+header > len(r.frame.Data) {
		return p.PayloadLength
	}
	return max(p.PayloadLength, int(binary.BigEndian.Uint16(r.frame.Data[p.Transport+4:]))-header)
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
