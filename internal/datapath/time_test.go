package datapath

import (
	"testing"
	"time"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// TestTimeAmidConnection sends packets amid a connection, whose time is that of
// their tick: it never goes back, is never ahead of the clock, and never further
// behind than the longest tick there is. What ends the connection has its own.
func TestTimeAmidConnection(t *testing.T) {
	d := open(t)
	swap(t, d, load(t, rules(1)))
	const longest = 10 * time.Millisecond // CONFIG_HZ=100
	h := headers{to: [6]byte{2}, hopLimit: 64}
	send := func(flags byte, seq, ack uint32) {
		run(t, d.objects.Egress, h.build(benched, segment(benched, flags, seq, ack, 0)))
	}
	answer := func(flags byte, seq, ack uint32) {
		run(t, d.objects.Ingress, h.build(reply, segment(reply, flags, seq, ack, 0)))
	}
	send(packet.SYN, 0, 0)
	answer(packet.SYN|packet.ACK, 0, 1)
	send(packet.ACK, 1, 1)
	before, ticks, began := entry(t, d, benched).Last, map[uint64]bool{}, time.Now()
	for range 2000 {
		from := now(t)
		send(packet.ACK, 1, 1)
		f := entry(t, d, benched)
		// An emulated machine may be late with a tick.
		if behind := time.Duration(from - int64(f.Last)); f.Last < before || behind > 2*longest || int64(f.Last) > now(t) {
			t.Fatalf("a packet has a time %v before it was sent and %dns after that of the one before", behind, int64(f.Last-before))
		}
		before = f.Last
		ticks[f.Last] = true
	}
	// An emulated machine has less than a packet a tick.
	if time.Since(began) < 2*time.Second && len(ticks) > 1000 {
		t.Errorf("the clock was read for %d of 2000 packets", len(ticks))
	}
	for i, step := range []func(){
		func() { send(packet.FIN|packet.ACK, 1, 1) },
		func() { answer(packet.FIN|packet.ACK, 1, 2) },
		func() { send(packet.ACK, 2, 2) },
	} {
		from := now(t)
		step()
		if last := int64(entry(t, d, benched).Last); last < from {
			t.Errorf("step %d of its end has a time %v before it", i, time.Duration(from-last))
		}
	}
	if f := entry(t, d, benched); f.End != uint8(bpf.ConnectionsEndReasonEND_FIN) {
		t.Errorf("the connection did not end: %+v", f)
	}
}
