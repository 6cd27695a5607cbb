package stream

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"unsafe"

	"github.com/weirnet/weir/internal/packet"
)

// address is that of a source by number.
func address(i int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(i))
	return netip.AddrFrom4(a)
}

// struggle sends the truth in pieces through limits that are far too tight: each
// byte that is read is the true one at its place, all others are told as holes, and
// the limits hold at every step.
func struggle(t testing.TB, s script, steps int) {
	limits := Limits{
		Bytes: 300 + s.intN(6000), Connections: 1 + s.intN(6), Waiting: 1 + s.intN(400), Pieces: 1 + s.intN(12),
		Kept: s.intN(100) - 20,
	}
	b := NewBudget(limits)
	const size = 3000
	truth := make([]byte, size)
	for i := range truth {
		truth[i] = byte(i * 7 / 3)
	}
	type reader struct {
		Conversation
		high int
	}
	all := make([]reader, 8)
	conns := make([]*reader, len(all))
	for i := range all {
		conns[i] = &all[i]
	}
	buffer := make([]byte, size)
	for range steps {
		c := conns[s.intN(len(conns))]
		if !c.IsOpen() || s.intN(100) == 0 {
			c.Open(b, address(s.intN(3)))
			c.high = 0
		}
		end := s.intN(2)
		stream := c.Stream(end)
		at := min(int(stream.next), size-1)
		if s.intN(2) == 0 {
			at = min(at+s.intN(300), size-1)
		}
		data := buffer[:min(1+s.intN(1<<s.intN(11)), size-at)]
		copy(data, truth[at:])
		if !stream.Begun() {
			c.Segment(end, 0xfffffff0, 0, packet.SYN, nil)
		}
		r := c.Segment(end, 0xfffffff1+uint32(at), 0, 0, data)
		if r.Events&Malformed != 0 {
			t.Fatalf("events %b of nothing but the truth", r.Events)
		}
		if s.intN(3) == 0 {
			stream.Acked(0xfffffff1 + uint32(s.intN(int(stream.high)+1)))
		}
		for range 40 {
			was := stream.Offset()
			if data := stream.Next(); data != nil {
				if int(was)+len(data) > size || !bytes.Equal(data, truth[was:][:len(data)]) {
					t.Fatalf("at %d: %x, want %x", was, data, truth[was:][:len(data)])
				}
				n := s.intN(len(data)+1) * s.intN(2)
				stream.Consume(n)
				if stream.Offset() != was+uint64(n) {
					t.Fatalf("offset %d after %d and %d", stream.Offset(), was, n)
				}
				if s.intN(20) == 0 {
					stream.Skip(uint64(s.intN(200)))
				}
			} else if hole, ok := stream.Hole(); ok {
				from := stream.next
				stream.SkipHole()
				if stream.Offset() != from+hole.Length {
					t.Fatalf("offset %d after a hole from %d of %d", stream.Offset(), from, hole.Length)
				}
			} else {
				break
			}
		}
		stream.Hold()
		clear(buffer)
		b.check(t)
		used := 0
		for _, c := range conns {
			for end := range 2 {
				if c.IsOpen() {
					c.Stream(end).check(t)
					used += c.Stream(end).charged.weight
				}
			}
		}
		if used != b.used || b.used+b.idle.bytes > b.limits.Bytes {
			t.Fatalf("%d used, %d counted, %d idle, %d allowed", used, b.used, b.idle.bytes, b.limits.Bytes)
		}
		if b.connections > b.limits.Connections {
			t.Fatalf("%d connections, %d are allowed", b.connections, b.limits.Connections)
		}
	}
	for _, c := range conns {
		c.Release()
	}
	b.check(t)
	if b.used != 0 || b.waiting != 0 || b.connections != 0 || len(b.sources) != 0 || len(b.byBytes.items) != 0 || len(b.byCount.items) != 0 {
		t.Fatalf("left behind: %+v", b)
	}
}

func TestTightLimits(t *testing.T) {
	for seed := range uint64(200) {
		struggle(t, dice{rand.New(rand.NewPCG(seed, 2))}, 300)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// FuzzStream plays both games with choices from the fuzzer.
func FuzzStream(f *testing.F) {
	for seed := range uint64(8) {
		data := make([]byte, 400)
		r := rand.New(rand.NewPCG(seed, 3))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		play(t, &tape{data}, min(len(data)/8, 200))
		struggle(t, &tape{data}, min(len(data)/4, 400))
	})
}

// TestShares: a source that has no more than its share of the memory gets it and
// keeps it, whatever others ask for.
func TestShares(t *testing.T) {
	const sources, share = 10, 1 << 16
	b := NewBudget(Limits{Bytes: sources * share, Waiting: MaxWaiting, Kept: -1, Pieces: MaxPieces})
	conns := make([]Conversation, 400)
	lost := func(c *Conversation) bool { return c.Stream(0).lost.to > 0 }
	for i := range conns {
		source := 0 // the greedy one
		if i%40 < sources-1 {
			source = 1 + i%40
		}
		conns[i].Open(b, address(source))
		conns[i].Segment(0, 0, 0, packet.SYN, nil)
	}
	payload := make([]byte, 2048)
	for round := range 30 {
		for i := range conns {
			// The others ask for 10 connections of 2 pieces and a list.
			if i%40 < sources-1 && round >= 2 {
				continue
			}
			conns[i].Segment(0, uint32(2+round*4096), 0, 0, payload)
			conns[i].Stream(0).Hold()
			b.check(t)
		}
	}
	greedy := 0
	for i := range conns {
		switch {
		case i%40 >= sources-1:
			if lost(&conns[i]) {
				greedy++
			}
		case lost(&conns[i]) || conns[i].Stream(0).waiting != 2*len(payload):
			t.Errorf("connection %d of source %d has %d bytes", i, 1+i%40, conns[i].Stream(0).waiting)
		}
	}
	if greedy == 0 || b.Count(OverBudget) == 0 {
		t.Error("the greedy source lost nothing")
	}
	if b.used < b.limits.Bytes*9/10 {
		t.Errorf("%d used of %d: what others leave is not used", b.used, b.limits.Bytes)
	}
}

// TestSharesOfStreams: of one source's streams the greedy one gives.
func TestSharesOfStreams(t *testing.T) {
	b := NewBudget(Limits{Bytes: 1 << 16, Waiting: MaxWaiting, Kept: -1})
	conns := make([]Conversation, 3)
	payload := make([]byte, 4096)
	send := func(i int, segments ...uint32) {
		if !conns[i].IsOpen() {
			conns[i].Open(b, address(1))
			conns[i].Segment(0, 0, 0, packet.SYN, nil)
		}
		for _, n := range segments {
			conns[i].Segment(0, 2+n*5000, 0, 0, payload)
			conns[i].Stream(0).Hold()
			b.check(t)
		}
	}
	send(0, 0)
	send(1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13) // the last does not fit
	send(0, 1)                                            // and now the greedy one gives
	send(2, 0)
	for i, want := range []int{2 * 4096, 0, 4096} {
		if got := conns[i].Stream(0).waiting; got != want {
			t.Errorf("stream %d has %d bytes, want %d", i, got, want)
		}
	}
	if n := b.Count(OverBudget); n != 14*4096 {
		t.Errorf("%d bytes given up", n)
	}
	// Not for one that would have more than the other.
	send(1, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32)
	if conns[0].Stream(0).waiting != 2*4096 || conns[2].Stream(0).waiting != 4096 {
		t.Error("a stream gave to one that has more")
	}
	conns[1].Release()
	send(0, 2, 3, 4, 5, 6, 7)
	send(2, 1, 2, 3, 4, 5, 6)
	payload = make([]byte, 8192)
	send(2, 7) // it would have more than the other
	if conns[0].Stream(0).waiting != 8*4096 || conns[2].Stream(0).waiting != 7*4096 {
		t.Error("a stream gave to one that would have more")
	}
}

// TestConnectionShares: the oldest connection of the source with most goes.
func TestConnectionShares(t *testing.T) {
	b := NewBudget(Limits{Connections: 4})
	var evicted []*Conversation
	b.OnEvict = func(c *Conversation) { evicted = append(evicted, c) }
	conns := make([]Conversation, 8)
	for i, source := range []int{1, 2, 2, 2} {
		conns[i].Open(b, address(source))
	}
	conns[4].Open(b, address(3)) // source 2 has most
	conns[5].Open(b, address(2)) // and of its own
	conns[6].Open(b, netip.MustParseAddr("::ffff:0.0.0.2"))
	if len(evicted) != 3 || evicted[0] != &conns[1] || evicted[1] != &conns[2] || evicted[2] != &conns[3] {
		t.Errorf("%d evicted", len(evicted))
	}
	if r := conns[1].Segment(0, 0, 0, 0, []byte("ab")); r.Events != Gone || conns[1].IsOpen() {
		t.Errorf("evicted, but %+v", r)
	}
	if !conns[0].IsOpen() || !conns[4].IsOpen() || b.Connections() != 4 || b.Count(Evicted) != 3 {
		t.Errorf("%d connections, %d evicted", b.Connections(), b.Count(Evicted))
	}
	if SourceOf(netip.MustParseAddr("2001:db8::1")) != SourceOf(netip.MustParseAddr("2001:db8::ffff:1%eth0")) {
		t.Error("one IPv6 network is two sources")
	}
	b.check(t)
}

// TestEndless: 100,000 streams that never end, each in segments of one byte behind
// holes. The memory is what is stated, and the counters are exact.
func TestEndless(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const streams, limit = 100_000, 16 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b := NewBudget(Limits{Bytes: limit, Connections: streams})
	conns := make([]Conversation, streams)
	for i := range conns {
		conns[i].Open(b, address(i/100))
		conns[i].Segment(0, uint32(i), 0, packet.SYN, nil)
	}
	payload := []byte("x")
	const rounds = 30
	for round := range rounds {
		for i := range conns {
			conns[i].Segment(0, uint32(i+3+2*round), 0, 0, payload)
			conns[i].Stream(0).Hold()
			if b.used+b.idle.bytes > limit {
				t.Fatalf("%d used and %d idle of %d", b.used, b.idle.bytes, limit)
			}
		}
		b.check(t)
	}
	if got := b.Count(Bytes); got != rounds*streams {
		t.Errorf("%d bytes counted, %d came", got, rounds*streams)
	}
	if lost := b.Count(OverBudget); lost+uint64(b.Waiting()) != rounds*streams || lost == 0 {
		t.Errorf("%d lost and %d waiting of %d", lost, b.Waiting(), rounds*streams)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	// For each connection: itself, and its places in the heaps, the map and the
	// list of its source.
	bound := uint64(limit + streams*(unsafe.Sizeof(Conversation{})+64))
	grown := after.HeapAlloc - before.HeapAlloc
	t.Logf("%d MiB for %d streams (%d bytes each), limit %d MiB, bound %d MiB; %d of %d bytes held",
		grown>>20, streams, unsafe.Sizeof(Conversation{}), limit>>20, bound>>20, b.Waiting(), rounds*streams)
	if grown > bound {
		t.Errorf("%d bytes of memory, the bound is %d", grown, bound)
	}
	for i := range conns {
		conns[i].Release()
	}
	b.check(t)
	if b.used != 0 || b.Count(Released) != b.Count(Bytes)-b.Count(OverBudget) {
		t.Errorf("%d bytes used, %d released", b.used, b.Count(Released))
	}
}
