package datapath

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/internal/classifier"
	"github.com/weirnet/weir/internal/packet"
)

// Two policies each that say the same of the flood, by other rules.
var (
	blocking = [2]string{
		"mode: prevent\nrules: [{name: a, action: allow, layer3: {source: 192.0.2.0/24}}]",
		"mode: prevent\ndefault_action: allow\nrules: [{name: b, action: block, layer3: {source: 10.0.0.0/8}}]",
	}
	allowing = [2]string{
		"mode: prevent\nrules: [{name: a, action: allow, layer3: {source: 10.0.0.0/8}}]",
		"mode: prevent\ndefault_action: allow\nrules: [{name: b, action: block, layer3: {source: 192.0.2.0/24}}]",
	}
)

// misjudged floods the program while the policies change places, and counts the
// packets, of new connections and of an old one, that got another answer.
func misjudged(t *testing.T, d *Datapath, texts [2]string, want uint32) uint64 {
	var tables [2]*classifier.Tables
	for i, text := range texts {
		var err error
		if tables[i], err = classifier.Compile(load(t, text), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	put := func(i int) {
		if _, err := d.Swap(tables[i%2], uint64(i), nil, nil); err != nil {
			t.Error(err)
		}
	}
	put(0)
	var wrong, sent atomic.Uint64
	stop := make(chan struct{})
	var floods sync.WaitGroup
	floods.Add(1)
	go func() {
		defer floods.Done()
		tp := packet.Tuple{
			Source: address("10.0.0.0"), Destination: address("192.168.0.1"),
			Protocol: packet.UDP, SourcePort: 1, DestinationPort: 2,
		}
		old := frame(tp)
		for {
			select {
			case <-stop:
				return
			default:
			}
			tp.Source = next(tp.Source)
			for _, b := range [][]byte{old, frame(tp)} {
				answer, err := d.objects.Ingress.Run(&ebpf.RunOptions{Data: b})
				if err != nil {
					t.Error(err)
					return
				}
				sent.Add(1)
				if answer != want {
					wrong.Add(1)
				}
			}
		}
	}()
	const swaps = 100
	for i := range swaps {
		put(i + 1)
	}
	close(stop)
	floods.Wait()
	t.Logf("%d packets over %d swaps, %d misjudged", sent.Load(), swaps, wrong.Load())
	if sent.Load() < swaps*10 {
		t.Fatal("too few packets to tell")
	}
	return wrong.Load()
}

func next(a netip.Addr) netip.Addr {
	if n := a.Next(); netip.MustParsePrefix("10.0.0.0/8").Contains(n) {
		return n
	}
	return address("10.0.0.0")
}

func TestSwapIsAtomic(t *testing.T) {
	d := open(t)
	for _, c := range []struct {
		name  string
		texts [2]string
		want  uint32
	}{{"both block", blocking, drop}, {"both allow", allowing, pass}} {
		t.Run(c.name, func(t *testing.T) {
			forget(t, d)
			if n := misjudged(t, d, c.texts, c.want); n > 0 {
				t.Errorf("%d packets were judged by neither policy", n)
			}
		})
	}
}

// TestSwapTestSeesBrokenSwap: a swap that fills the tables in force in place must
// not go unnoticed.
func TestSwapTestSeesBrokenSwap(t *testing.T) {
	d := open(t)
	d.breakSwap = true
	if misjudged(t, d, blocking, drop) == 0 {
		t.Error("the flood did not notice a swap in place")
	}
}
