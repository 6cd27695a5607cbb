package datapath

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

// settleStep is a settlement of a conversation that the kernel and the reference are
// told of.
type settleStep struct {
	tuple       packet.Tuple
	otherEpoch  bool
	otherTables bool
	of          flow.Settlement // without what names the connection
}

// settlement tells something of a conversation: mostly what may be.
func (g *traffic) settlement(k *talk) {
	s := settleStep{tuple: k.tuple, otherEpoch: g.rarely(15), otherTables: g.rarely(15)}
	if g.rarely(8) {
		s.tuple = k.beyond
	}
	if g.rarely(2) {
		s.tuple = s.tuple.Reversed()
	}
	// The zone is that of the way; most have none.
	s.tuple.Zone = packet.Zone{}
	if g.rarely(3) {
		s.tuple.Zone.Outer = vlanZone
	}
	s.of = flow.Settlement{
		Judged: !g.rarely(4), Rule: uint32(g.IntN(3)), Action: flow.Action(g.one(1, 2, 1, 2, 1, 2, 1, 2, 0)),
		Reason:     flow.Reason(g.one(1, 1, 1, 2, 5, 6, 7, 8, 9, 10, 1, 1, 0, 4, 11)),
		Reject:     uint8(g.IntN(3)),
		ShadowRule: flow.NoRule, Application: uint8(g.IntN(8)), Done: g.rarely(3),
	}
	if g.rarely(3) {
		s.of.Rule = flow.NoRule
	}
	if g.rarely(3) {
		s.of.ShadowRule, s.of.ShadowAction = uint32(g.IntN(3)), flow.Action(g.one(0, 1, 2, 2))
	}
	g.steps = append(g.steps, step{kind: aSettlement, settle: s})
}

// settle tells both of it.
func (r *trial) settle(t testing.TB, s *settleStep, i int) string {
	key, _ := flowKey(s.tuple)
	twin := s.of
	twin.Tuple, twin.ID, twin.Tables = s.tuple, r.ids[key].id, r.latest
	var f bpf.ConnectionsFlow
	if err := ignoreAbsent(r.datapath.objects.Flows.Lookup(key, &f)); err != nil {
		t.Fatal(err)
	}
	rules := len(r.policies[r.inForce].tables.Rules)
	for _, rule := range []*uint32{&twin.Rule, &twin.ShadowRule} {
		if *rule != flow.NoRule && int(*rule) >= rules {
			*rule = flow.NoRule
		}
	}
	kernel := Settlement{
		Key: FlowKey{key}, ID: f.Id, Judged: twin.Judged, Tables: r.datapath.tables, Rule: twin.Rule,
		Action: uint8(twin.Action), Reason: uint8(twin.Reason), Reject: twin.Reject, ShadowRule: twin.ShadowRule,
		ShadowAction: uint8(twin.ShadowAction), Application: twin.Application, Done: twin.Done,
	}
	if s.otherEpoch {
		kernel.ID++
		twin.ID++
	}
	if s.otherTables {
		kernel.Tables += 4
		twin.Tables++
	}
	from := now(t)
	results, err := r.datapath.Settle([]Settlement{kernel})
	if err != nil {
		t.Fatal(err)
	}
	r.spans[i] = span{from, now(t)}
	var result flow.SettleResult
	result, r.told = r.twin.Settle(&twin, r.told)
	if SettleResult(result) != results[0] {
		return fmt.Sprintf("the kernel settles with %d, the reference with %d: %+v", results[0], result, twin)
	}
	return ""
}

// drainCopies takes what was copied since the last call.
func (d *Datapath) drainCopies(t testing.TB) (list []Copy) {
	t.Helper()
	r := copyReader{d: d, clock: &clock{}, payload: make([]byte, 0, copyPayload), batch: make([]Copy, 0, copyBatch)}
	r.handle = func(batch []Copy) { list = append(list, batch...) }
	if d.copies.AvailableBytes() == 0 {
		return nil
	}
	d.copies.SetDeadline(time.Unix(1, 0))
	if _, err := r.drain(); err != nil {
		t.Fatal(err)
	}
	return list
}

// compareCopies says how what was copied of a packet differs from what the reference
// has sighted of it.
func (r *trial) compareCopies(t testing.TB, p *packet.Packet) string {
	sighting, sighted := r.twin.Sighted()
	var bytes, copies int
	var last *Copy
	list := r.datapath.drainCopies(t)
	for i := range list {
		c := &list[i]
		if c.Ended {
			continue
		}
		last = c
		copies++
		bytes += len(c.Payload) + c.Missing
		if r.credit[c.ID] == nil {
			r.credit[c.ID] = &[2]int{1, 1}
		}
		r.credit[c.ID][c.End] = c.Credit
	}
	for _, credit := range r.credit {
		if credit[0] <= 0 || credit[1] <= 0 {
			return "" // the reference knows of none
		}
	}
	if sighted != (copies > 0) {
		return fmt.Sprintf("the kernel copies %d times, the reference sights: %v", copies, sighted)
	}
	if !sighted {
		return ""
	}
	if bytes != p.PayloadLength || last.End != sighting.End || last.Verdict != uint8(sighting.Verdict) || last.Rule != sighting.Rule ||
		last.Action != uint8(sighting.Action) || last.Reason != uint8(sighting.Reason) || last.Prevent != sighting.Prevent {
		return fmt.Sprintf("the kernel copies %d bytes, %+v, the reference %d, %+v", bytes, last, p.PayloadLength, sighting)
	}
	if tcp := p.Protocol == packet.TCP; tcp && (last.Flags != p.TCPFlags || last.Ack != p.Ack) {
		return fmt.Sprintf("the kernel copies %+v, the reference %+v", last, p)
	}
	return ""
}
