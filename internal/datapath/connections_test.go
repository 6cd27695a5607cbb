package datapath

import (
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

// TestLive lists the connections of the table, of more than one batch, and not those
// that are over.
func TestLive(t *testing.T) {
	const live, over = 2*liveBatch + 100, 50
	d := openSmall(t, 4*liveBatch)
	swap(t, d, load(t, "mode: detect\nrules: [{name: web, action: allow, layer4: {tcp: 80}}]"))
	tuple := func(i int) packet.Tuple {
		return packet.Tuple{
			Source: address4(11, uint32(i)), Destination: address("10.0.0.2"), Protocol: packet.TCP, SourcePort: 4000, DestinationPort: 80,
		}
	}
	for i := range live + over {
		tp := tuple(i)
		run(t, d.objects.Ingress, tcpFrame(tp, syn, 100, 0, 0))
		run(t, d.objects.Ingress, tcpFrame(tp.Reversed(), syn|ack, 500, 101, 0))
		run(t, d.objects.Ingress, tcpFrame(tp, ack, 101, 501, 0))
		if i >= live {
			const rst = 4
			run(t, d.objects.Ingress, tcpFrame(tp, rst, 101, 0, 0))
		}
	}
	found := map[packet.Tuple]Event{}
	if err := d.Live(func(e *Event) bool { found[e.Tuple] = *e; return true }); err != nil {
		t.Fatal(err)
	}
	if len(found) != live {
		t.Errorf("%d connections are live, found %d", live, len(found))
	}
	for i := range live {
		e, f := found[tuple(i)], entry(t, d, tuple(i))
		if e.ID != f.Id || e.Packets != [2]uint64{2, 1} || e.Direction != packet.Direction(f.Direction) || e.Tables != d.tables || e.Rule != f.Rule || e.First.IsZero() {
			t.Fatalf("connection %d: %+v, its entry %+v", i, e, f)
		}
	}
	seen := 0
	if err := d.Live(func(*Event) bool { seen++; return seen < 5 }); err != nil || seen != 5 {
		t.Errorf("%d, %v: asked to stop at 5", seen, err)
	}
}
