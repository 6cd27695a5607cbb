package stream

import (
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

// BenchmarkStream: one stream whose reader takes all, and whose receiver
// acknowledges each segment; order is that in which groups of segments come.
func BenchmarkStream(b *testing.B) {
	for _, bench := range []struct {
		name  string
		size  int
		order []int
		kept  int
		held  bool
	}{
		{"in order/1448", 1448, []int{0}, -1, false},
		{"in order/65536", 65536, []int{0}, -1, false},
		{"in order/1448, kept", 1448, []int{0}, 0, false},
		{"in order/65536, kept", 65536, []int{0}, 0, false},
		{"reordered/1448", 1448, []int{1, 0}, -1, false},
		{"reordered/1448 of 32", 1448, []int{31, 3, 7, 1, 30, 2, 9, 8, 11, 10, 29, 28, 13, 12, 27, 26, 15, 14, 25, 24, 17, 16, 23, 22, 19, 18, 21, 20, 5, 4, 6, 0}, -1, false},
		{"reordered/65536", 65536, []int{1, 0}, -1, false},
		{"one byte/in order", 1, []int{0}, -1, false},
		{"one byte/reordered", 1, []int{1, 0}, -1, false},
		{"one byte/unread until 1024", 1, []int{0}, -1, true},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c := open(Limits{Kept: bench.kept, Waiting: MaxWaiting})
			s := c.Stream(0)
			c.Segment(0, 0, 0, packet.SYN, nil)
			payload := make([]byte, bench.size)
			group := len(bench.order) * bench.size
			b.SetBytes(int64(group))
			b.ReportAllocs()
			at, read := 0, 0
			for b.Loop() {
				for _, place := range bench.order {
					s.Segment(uint32(1+at+place*bench.size), packet.ACK, payload)
					for data := s.Next(); data != nil; data = s.Next() {
						if n := len(data); !bench.held || n == 1024 {
							s.Consume(n)
							read += n
						} else {
							s.Consume(0)
						}
					}
					s.Hold()
				}
				at += group
				s.Acked(uint32(1 + at))
			}
			if read < at-1024 {
				b.Fatalf("%d bytes read of %d", read, at)
			}
		})
	}
}

// BenchmarkFlood: many streams of one-byte segments behind holes, under a budget
// that is always full.
func BenchmarkFlood(b *testing.B) {
	const streams = 10_000
	budget := NewBudget(Limits{Bytes: 2 << 20, Connections: streams})
	conns := make([]Conversation, streams)
	for i := range conns {
		conns[i].Open(budget, address(i/10))
		conns[i].Segment(0, 0, 0, packet.SYN, nil)
	}
	payload := []byte("x")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := &conns[i%streams]
		c.Segment(0, uint32(3+i/streams*2), 0, packet.ACK, payload)
		c.Stream(0).Hold()
	}
}

// TestAllocations: none for segments in order, nor for reordered ones once there
// are idle buffers.
func TestAllocations(t *testing.T) {
	for _, kept := range []int{-1, 0} {
		c := open(Limits{Kept: kept})
		s := c.Stream(0)
		c.Segment(0, 0, 0, packet.SYN, nil)
		payload := make([]byte, 1448)
		at := uint32(1)
		take := func(at uint32) {
			s.Segment(at, packet.ACK, payload)
			for data := s.Next(); data != nil; data = s.Next() {
				if kept < 0 && len(s.pieces) == 0 && &data[0] != &payload[0] {
					t.Fatal("the segment was copied")
				}
				s.Consume(len(data))
			}
			s.Hold()
		}
		inOrder := func() {
			take(at)
			at += 1448
			s.Acked(at)
		}
		reordered := func() {
			take(at + 1448)
			take(at)
			at += 2 * 1448
			s.Acked(at)
		}
		for range 10 {
			reordered()
		}
		if n := testing.AllocsPerRun(1000, inOrder); n != 0 {
			t.Errorf("kept %d: %v allocations for a segment in order", kept, n)
		}
		if n := testing.AllocsPerRun(1000, reordered); n != 0 {
			t.Errorf("kept %d: %v allocations for two segments out of order", kept, n)
		}
	}
}
