package datapath

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/internal/classbench"
	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
)

// TestClassBench sends a packet for every line of every trace through the
// program: its entry must bear the first rule that matches.
func TestClassBench(t *testing.T) {
	nstest.Need(t)
	dir := filepath.Join("..", "..", "..", "shared", "corpora", "classbench")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the ClassBench sets are not here:", err)
	}
	sets, err := classbench.Sets(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t)
	for _, set := range sets {
		cases, err := classbench.Cases(dir, set)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			t.Run(c.Name, func(t *testing.T) { tryHeaders(t, d, c) })
		}
	}
}

func tryHeaders(t *testing.T, d *Datapath, c classbench.Case) {
	forget(t, d)
	swap(t, d, load(t, string(c.Policy)))
	for i, h := range c.Headers {
		tp := packet.Tuple{Source: h.Source, Destination: h.Destination, Protocol: h.Protocol}
		if tp.HasPorts() {
			tp.SourcePort, tp.DestinationPort = h.SourcePort, h.DestinationPort
		}
		if tp.Protocol == packet.ICMP {
			tp.ICMPType = 8 // the traces have no type, and that of a reply would turn the tuple around
		}
		// The tuple turned around may be another line's connection.
		k, _ := flowKey(tp)
		if err := d.objects.Flows.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Fatal(err)
		}
		run(t, d.objects.Ingress, frame(tp))
		if got := entry(t, d, tp).Rule; got != uint32(c.First[i]) {
			t.Fatalf("line %d, %+v: rule %d, want %d", i+1, h, got, c.First[i])
		}
	}
	t.Logf("%d headers", len(c.Headers))
}
