package stream

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// model is a stream as an array: the first copy of each byte, and what is kept.
type model struct {
	content       []byte
	came          []bool
	passed        []bool // never came, and the caller has passed its hole
	want          int
	acked, high   int
	ahead         int
	acks          bool
	kept          int // the limit
	differs       int
	hasDifference bool
}

func newModel(size, kept int) *model {
	return &model{content: make([]byte, size), came: make([]bool, size), passed: make([]bool, size), kept: kept}
}

// next is where the first byte is that may still come.
func (m *model) next() int {
	x := 0
	for x < len(m.came) && (m.came[x] || m.passed[x] || x < m.want && x < m.acked) {
		x++
	}
	return x
}

// segment stores what is new, and returns the offsets of what is told to differ.
func (m *model) segment(at int, data []byte) (differing []int) {
	next := m.next()
	if len(data) == 1 && at < m.high && at+1 == next && (!m.acks || m.acked >= next) {
		return nil
	}
	floor := max(m.want-m.kept, min(m.acked, m.want))
	for i, c := range data {
		x := at + i
		switch {
		case m.passed[x] || !m.came[x] && x < next:
		case !m.came[x]:
			m.came[x], m.content[x] = true, c
		case x >= floor && m.content[x] != c:
			differing = append(differing, x)
			if !m.hasDifference || x < m.differs {
				m.differs, m.hasDifference = x, true
			}
		}
	}
	m.high = max(m.high, at+len(data))
	if m.ahead <= m.high {
		m.acked = max(m.acked, m.ahead)
	}
	return differing
}

func (m *model) ack(to int) {
	m.acks = true
	if to > m.high {
		m.ahead = max(m.ahead, to)
		return
	}
	m.acked = max(m.acked, to)
}

// hole is the length of what is missing at an offset and acknowledged.
func (m *model) hole(at int) int {
	n := 0
	for at+n < m.acked && !m.came[at+n] {
		n++
	}
	return n
}

// available is the number of bytes at want without a hole.
func (m *model) available() int {
	n := 0
	for m.want+n < len(m.came) && m.came[m.want+n] {
		n++
	}
	return n
}

// script is where a test's choices come from: a random number or a fuzzer's bytes.
type script interface{ intN(n int) int }

type dice struct{ *rand.Rand }

func (d dice) intN(n int) int { return d.IntN(n) }

// play throws segments at a stream without tight limits, and compares all it says
// with the model.
func play(t testing.TB, s script, steps int) {
	size := 1 + s.intN(600)
	kept := []int{-1, 1 + s.intN(50), MaxWaiting}[s.intN(3)]
	skips := kept == -1 && s.intN(2) == 0
	acks := s.intN(2) == 0
	lies := s.intN(2) == 0
	isn := []uint32{0xffffffff, 0xfffffff0, 0xffffff00, 0x7fffffff, 0}[s.intN(5)]
	c := open(Limits{Kept: kept, Pieces: MaxPieces})
	stream := c.Stream(0)
	m := newModel(size, max(kept, 0))
	truth := make([]byte, size)
	for i := range truth {
		truth[i] = byte(s.intN(256))
	}
	if s.intN(4) > 0 {
		c.Segment(0, isn, 0, packet.SYN, nil)
	} else { // without one: at the first byte
		m.segment(0, truth[:1])
		c.Segment(0, isn+1, 0, packet.ACK, truth[:1])
	}
	buffer := make([]byte, size)
	for range steps {
		at := s.intN(size)
		length := min(1+s.intN(1<<s.intN(9)), size-at)
		if s.intN(3) == 0 && m.next() < size { // what is next
			at = m.next()
			length = min(length, size-at)
		}
		data := buffer[:length]
		copy(data, truth[at:])
		if lies && s.intN(4) == 0 {
			data[s.intN(length)] ^= byte(1 + s.intN(255))
		}
		differing := m.segment(at, data)
		before := m.next()
		r := stream.Segment(isn+1+uint32(at), packet.ACK, data)
		if r.Differing != len(differing) || len(differing) > 0 && r.At != uint64(differing[0]) {
			t.Fatalf("segment from %d to %d: %d bytes differ, the first at %d; want %v (next %d)", at, at+length, r.Differing, r.At, differing, before)
		}
		if place, ok := stream.Conflict(); ok != m.hasDifference || ok && place != uint64(m.differs) {
			t.Fatalf("lowest conflict %d %v, want %d %v", place, ok, m.differs, m.hasDifference)
		}
		if acks && s.intN(3) == 0 {
			to := s.intN(size + 1)
			m.ack(to)
			stream.Acked(isn + 1 + uint32(to))
		}
		read(t, s, stream, m, skips)
		stream.Hold()
		clear(buffer)
		stream.check(t)
		stream.budget.check(t)
	}
	// All that is missing comes, in any order.
	for at := 0; at < size; at += 7 {
		data := truth[at:min(at+7, size)]
		m.segment(at, data)
		stream.Segment(isn+1+uint32(at), 0, data)
	}
	stream.Segment(isn+1+uint32(size), packet.FIN, nil)
	for m.want < size {
		was := m.want
		read(t, s, stream, m, false)
		if was == m.want && s.intN(2) == 0 {
			n := m.available()
			for stream.Next() != nil { // until all of it is offered in one piece
			}
			stream.Consume(n)
			m.want += n
		}
	}
	if !stream.Closed() || stream.Offset() != uint64(size) {
		t.Fatalf("closed %v at %d, want true at %d", stream.Closed(), stream.Offset(), size)
	}
	c.Release()
	if stream.budget.used != 0 || stream.budget.waiting != 0 {
		t.Fatalf("%d bytes used, %d waiting after the release", stream.budget.used, stream.budget.waiting)
	}
	stream.budget.check(t)
}

// read reads in a random way and checks each byte and hole.
func read(t testing.TB, s script, stream *Stream, m *model, skips bool) {
	t.Helper()
	manner := s.intN(4)
	for {
		var last []byte
		for data := stream.Next(); data != nil; data = stream.Next() {
			if got := stream.Offset(); got != uint64(m.want) {
				t.Fatalf("offset %d, want %d", got, m.want)
			}
			if len(data) > m.available() || !bytes.Equal(data, m.content[m.want:m.want+len(data)]) {
				t.Fatalf("at %d: %x offered, want the beginning of %x", m.want, data, m.content[m.want:m.want+m.available()])
			}
			last = data
			n := 0
			switch manner {
			case 0:
				n = len(data)
			case 1:
				n = s.intN(len(data) + 1)
			}
			stream.Consume(n)
			m.want += n
			if n == len(data) {
				last = nil
			}
			if skips && s.intN(4) == 0 {
				n := s.intN(len(m.came) - m.want + 1)
				stream.Skip(uint64(n))
				m.want += n
				last = nil
			}
		}
		if n := m.available(); len(last) != n && manner > 0 && last != nil {
			t.Fatalf("%d bytes offered at last, want all %d", len(last), n)
		}
		hole, ok := stream.Hole()
		length := m.hole(m.want + m.available())
		if ok != (length > 0) || ok && (hole.Length != uint64(length) || hole.Cause != policy.NotSeen) {
			t.Fatalf("hole %v %v at %d, want %d", hole, ok, m.want, length)
		}
		if !ok || s.intN(3) == 0 {
			return
		}
		stream.SkipHole()
		m.want += m.available()
		for range length {
			m.passed[m.want] = true
			m.want++
		}
	}
}

func TestModel(t *testing.T) {
	for seed := range uint64(4000) {
		func() {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			play(t, dice{rand.New(rand.NewPCG(seed, 1))}, 60)
		}()
	}
}

// tape takes choices from bytes; where they end, all are 0.
type tape struct{ data []byte }

func (c *tape) intN(n int) int {
	v := 0
	for limit := n; limit > 1; limit >>= 8 {
		if len(c.data) == 0 {
			return 0
		}
		v = v<<8 | int(c.data[0])
		c.data = c.data[1:]
	}
	return v % n
}
