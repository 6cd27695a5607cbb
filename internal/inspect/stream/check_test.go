package stream

import (
	"net/netip"
	"testing"
)

// open returns a connection of a budget of its own.
func open(limits Limits) *Conversation {
	c := &Conversation{}
	c.Open(NewBudget(limits), netip.MustParseAddr("192.0.2.1"))
	return c
}

// check fails unless what a stream says of itself is so, and within its limits.
func (s *Stream) check(t testing.TB) {
	t.Helper()
	l := s.budget.limits
	waiting, memory := 0, cap(s.pieces)*pieceBytes
	end := uint64(0)
	for i, p := range s.pieces {
		if p.at < end && i > 0 || p.at >= p.end {
			t.Fatalf("piece %d from %d to %d, after one to %d", i, p.at, p.end, end)
		}
		if end = p.end; p.buf == nil {
			continue
		}
		if p.low+p.size() > len(p.buf) {
			t.Fatalf("piece %d is larger than its buffer", i)
		}
		memory += len(p.buf)
		if p.end > s.want {
			waiting += int(p.end - max(p.at, s.want))
		}
	}
	if waiting != s.waiting || waiting > l.Waiting {
		t.Fatalf("%d bytes wait, %d are counted, %d are allowed", waiting, s.waiting, l.Waiting)
	}
	if memory != s.charged.weight {
		t.Fatalf("%d bytes of memory, %d are charged", memory, s.charged.weight)
	}
	if len(s.pieces) > l.Pieces {
		t.Fatalf("%d pieces, %d are allowed", len(s.pieces), l.Pieces)
	}
	if s.want < s.next && s.offered > s.next {
		t.Fatalf("offered to %d, known to %d", s.offered, s.next)
	}
}

// check fails unless each byte that came is counted once, and the memory is within
// the limit.
func (b *Budget) check(t testing.TB) {
	t.Helper()
	if b.used < 0 || b.idle.bytes < 0 || b.used+b.idle.bytes > b.limits.Bytes {
		t.Fatalf("%d used and %d idle of %d", b.used, b.idle.bytes, b.limits.Bytes)
	}
	sum := uint64(b.waiting)
	for c := Delivered; c <= Released; c++ {
		sum += b.counts[c]
	}
	if sum != b.counts[Bytes] {
		b.Counters(func(c Counter, n uint64) { t.Log(c, n) })
		t.Fatalf("%d bytes came, %d are accounted for (%d wait)", b.counts[Bytes], sum, b.waiting)
	}
}
