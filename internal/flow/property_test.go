package flow_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

// consistent checks the order of what was told: for each id one start, then
// verdicts and updates, then at most one end.
func (w *world) consistent() {
	w.t.Helper()
	began, ended := map[uint64]bool{}, map[uint64]bool{}
	for i, e := range w.events {
		switch {
		case ended[e.ID]:
			w.t.Fatalf("event %d of %x after its end: %+v", i, e.ID, e)
		case (e.Kind == flow.EventStart) == began[e.ID]:
			w.t.Fatalf("event %d: the start of %x is not the first, or not the only one", i, e.ID)
		case e.Kind == flow.EventEnd && e.End == flow.EndNone:
			w.t.Fatalf("event %d: an end without a reason", i)
		case e.Last < e.First:
			w.t.Fatalf("event %d ends before it begins: %+v", i, e)
		}
		began[e.ID] = true
		ended[e.ID] = e.Kind == flow.EventEnd
	}
}

// TestProperties throws random packets of few tuples at the tracker, under
// policies that change, and balances its books.
func TestProperties(t *testing.T) {
	policies := []string{
		"rules: [{name: a, action: allow, layer4: udp}]",
		"mode: prevent\nreject: always\nrules: [{name: a, action: allow, layer4: {tcp: 443}}, {name: s, mode: detect, action: block}]",
		"mode: prevent\nreject: never\nrules: [{name: b, action: block, layer4: {tcp: {duration: {over: 2s}}}}, {name: a, action: allow}]",
		"mode: prevent\nrules: [{name: b, action: block, layer4: udp}, {name: a, action: allow, direction: outbound}]",
	}
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 7))
		w := newWorld(t, "")
		var packets, bytes uint64
		pick := func(values ...uint32) uint32 { return values[random.IntN(len(values))] }
		for range 3000 {
			var p *packet.Packet
			switch random.IntN(8) {
			case 0:
				p = datagram(random.IntN(100))
			case 1:
				p = icmp(8, uint16(random.IntN(3)), random.IntN(2) == 0)
			default:
				p = segment{
					flags: uint8(pick(uint32(syn), uint32(syn|ack), uint32(ack), uint32(ack), uint32(ack), uint32(fin|ack), uint32(rst), uint32(rst|ack))),
					seq:   pick(10, 11, 12, 20, 21, 22, 30), ack: pick(10, 11, 12, 20, 21, 22, 30), payload: random.IntN(3),
				}.packet()
			}
			if random.IntN(2) == 0 && p.Protocol != packet.ICMP {
				p = reply(p)
			}
			h := out
			if p.Source == there {
				h = in
			}
			p.SourcePort += uint16(random.IntN(2)) * 7
			w.see(p, h)
			packets, bytes = packets+1, bytes+uint64(p.Bytes)
			switch random.IntN(200) {
			case 0:
				w.swap(policies[random.IntN(len(policies))])
			case 1:
				w.wait(time.Duration(random.IntN(200)) * time.Second)
				w.sweep()
			case 2:
				w.wait(3 * time.Second)
			}
		}
		w.events = w.Flush(w.events)
		w.consistent()
		if w.Active() != 0 || w.Entries() != 0 {
			t.Errorf("seed %d: %d active of %d entries are left", seed, w.Active(), w.Entries())
		}
		if len(w.of(flow.EventStart)) != len(w.of(flow.EventEnd)) {
			t.Errorf("seed %d: starts and ends differ", seed)
		}
		var told, late uint64
		for _, e := range w.of(flow.EventEnd) {
			told += e.Sent[0].Packets + e.Sent[1].Packets
		}
		late = w.counter(flow.Late)
		var counted flow.Counts
		for _, c := range w.Traffic() {
			counted.Packets += c.Packets
			counted.Bytes += c.Bytes
		}
		if counted.Packets != packets || counted.Bytes != bytes {
			t.Errorf("seed %d: %d packets, %d bytes counted of %d, %d", seed, counted.Packets, counted.Bytes, packets, bytes)
		}
		// Late SYNs are told after all where they open a connection.
		if told > packets || told+late < packets {
			t.Errorf("seed %d: %d told and %d late of %d", seed, told, late, packets)
		}
	}
}
