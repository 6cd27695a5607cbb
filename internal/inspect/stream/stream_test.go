package stream

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

const (
	fin = packet.FIN
	syn = packet.SYN
	rst = packet.RST
	ack = packet.ACK
	urg = packet.URG
)

// seg is a segment of a table: numbers are relative to the ends' initial ones.
type seg struct {
	end     int
	seq     int64
	ack     int64
	flags   uint8
	payload string
}

// read tells all that is to be read of a stream: bytes as they are, a hole as
// <length cause>, the end as $ or, of a reset, !.
func (s *Stream) read(consume bool) string {
	var b strings.Builder
	for {
		for data := s.Next(); data != nil; data = s.Next() {
			if consume {
				b.Write(data)
				s.Consume(len(data))
			}
		}
		hole, ok := s.Hole()
		if !ok {
			break
		}
		fmt.Fprintf(&b, "<%d %s>", hole.Length, hole.Cause)
		s.SkipHole()
	}
	s.Hold()
	if s.Closed() {
		b.WriteString(map[bool]string{false: "$", true: "!"}[s.WasReset()])
	}
	return b.String()
}

func TestSegments(t *testing.T) {
	opening := []seg{{0, 0, 0, syn, ""}, {1, 0, 1, syn | ack, ""}, {0, 1, 1, ack, ""}}
	tests := []struct {
		name     string
		opened   bool
		segments []seg
		client   string
		server   string
		counted  map[Counter]uint64
	}{
		{"in order", true, []seg{{0, 1, 1, ack, "ab"}, {0, 3, 1, ack, "c"}, {1, 1, 4, ack, "x"}}, "abc", "x", nil},
		{"out of order", true, []seg{{0, 3, 1, ack, "c"}, {0, 1, 1, ack, "ab"}}, "abc", "", nil},
		{"retransmitted", true, []seg{{0, 1, 1, ack, "ab"}, {0, 1, 1, ack, "abc"}}, "abc", "", map[Counter]uint64{Repeated: 2}},
		{"other content", true, []seg{{0, 1, 1, ack, "ab"}, {0, 1, 1, ack, "axc"}}, "abc", "", map[Counter]uint64{Repeated: 2, Conflicting: 1}},
		{"other content, acknowledged", true, []seg{{0, 1, 1, ack, "ab"}, {1, 1, 3, ack, ""}, {0, 1, 1, ack, "xxc"}}, "abc", "", map[Counter]uint64{Repeated: 2, Conflicting: 0}},
		{"other content behind a hole", true, []seg{{0, 3, 1, ack, "cd"}, {0, 2, 1, ack, "bX"}, {0, 1, 1, ack, "abYYe"}}, "abcde", "", map[Counter]uint64{Conflicting: 3}},
		{"hole that is not acknowledged", true, []seg{{0, 3, 1, ack, "c"}, {1, 1, 1, ack, ""}}, "", "", nil},
		{"hole acknowledged", true, []seg{{0, 3, 1, ack, "c"}, {1, 1, 4, ack, ""}}, "<2 not_seen>c", "", map[Counter]uint64{Holes: 1, HoleBytes: 2}},
		{"late for its hole", true, []seg{{0, 3, 1, ack, "c"}, {1, 1, 4, ack, ""}, {0, 1, 1, ack, "ab"}}, "<2 not_seen>c", "", map[Counter]uint64{Repeated: 2}},
		{"acknowledged before it is seen", true, []seg{{1, 1, 3, ack, ""}, {0, 1, 1, ack, "ab"}}, "ab", "", map[Counter]uint64{StrayAck: 1}},
		{"acknowledged before what follows is seen", true, []seg{{1, 1, 3, ack, ""}, {0, 4, 1, ack, "d"}}, "<2 not_seen>", "", nil},
		{"acknowledgment of what is never sent", true, []seg{{1, 1, 5000, ack, ""}, {0, 1, 1, ack, "ab"}}, "ab", "", map[Counter]uint64{StrayAck: 1}},
		{"acknowledgment beyond the window", true, []seg{{1, 1, 1 + window + 20, ack, ""}, {0, 1 + window + 10, 1, ack, "zz"}, {0, 1, 1, ack, "a"}}, "a", "", map[Counter]uint64{BeyondWindow: 2}},
		{"data in the SYN", false, []seg{{0, 0, 0, syn, "ab"}, {1, 0, 3, syn | ack, ""}, {0, 3, 1, ack, "c"}}, "abc", "", nil},
		{"data in the SYN, not taken", false, []seg{{0, 0, 0, syn, "ab"}, {1, 0, 1, syn | ack, ""}, {0, 1, 1, ack, "abc"}}, "abc", "", map[Counter]uint64{Repeated: 2, Conflicting: 0}},
		{"data in the SYN, then other", false, []seg{{0, 0, 0, syn, "ab"}, {1, 0, 1, syn | ack, ""}, {0, 1, 1, ack, "xy"}}, "ab", "", map[Counter]uint64{Conflicting: 2}},
		{"SYN again", true, []seg{{0, 1, 1, ack, "a"}, {0, 0, 0, syn, ""}, {0, 2, 1, ack, "b"}}, "ab", "", map[Counter]uint64{StraySYN: 0}},
		{"SYN of another", true, []seg{{0, 1, 1, ack, "a"}, {0, 90, 0, syn, "zz"}, {0, 2, 1, ack, "b"}}, "ab", "", map[Counter]uint64{StraySYN: 1, Ignored: 2}},
		{"no SYN", false, []seg{{0, 500, 70, ack, "ab"}, {1, 70, 502, ack, "x"}, {0, 498, 70, ack, "zzab"}}, "ab", "x", map[Counter]uint64{Midstream: 2, BeforeStart: 2, Repeated: 2}},
		{"no SYN, probe first", false, []seg{{0, 499, 70, ack, ""}, {0, 500, 70, ack, "ab"}}, "ab", "", nil},
		{"SYN after the first data", false, []seg{{0, 1, 0, ack, "ab"}, {0, 0, 0, syn, ""}}, "ab", "", map[Counter]uint64{StraySYN: 0}},
		{"no SYN but its answer", false, []seg{{1, 0, 1, syn | ack, ""}, {0, 3, 1, ack, "c"}, {0, 1, 1, ack, "ab"}}, "abc", "", map[Counter]uint64{Midstream: 0}},
		{"FIN", true, []seg{{0, 1, 1, ack | fin, "ab"}, {1, 1, 4, ack, "xy"}}, "ab$", "xy", nil},
		{"FIN before what it ends", true, []seg{{0, 3, 1, ack | fin, ""}, {0, 1, 1, ack, "ab"}}, "ab$", "", nil},
		{"FIN, and data beyond", true, []seg{{0, 1, 1, ack | fin, "ab"}, {0, 3, 1, ack, "cd"}}, "ab$", "", map[Counter]uint64{BeyondEnd: 2}},
		{"FIN inside the data", true, []seg{{0, 1, 1, ack, "abc"}, {0, 2, 1, ack | fin, ""}, {0, 4, 1, ack, "d"}}, "abcd", "", map[Counter]uint64{StrayFIN: 1}},
		{"two FINs", true, []seg{{0, 3, 1, ack | fin, ""}, {0, 4, 1, ack | fin, ""}, {0, 1, 1, ack, "abc"}}, "ab$", "", map[Counter]uint64{StrayFIN: 1, BeyondEnd: 1}},
		{"FIN nobody took", true, []seg{{0, 1, 1, ack | fin, "ab"}, {0, 3, 1, ack, "cd"}, {1, 1, 6, ack, ""}, {0, 5, 1, ack, "ef"}}, "ab<2 not_seen>ef", "", nil},
		{"FIN behind a hole, acknowledged", true, []seg{{0, 3, 1, ack | fin, "c"}, {1, 1, 5, ack, ""}}, "<2 not_seen>c$", "", nil},
		{"RST", true, []seg{{0, 1, 1, ack, "ab"}, {0, 3, 0, rst, ""}, {0, 3, 1, ack, "c"}}, "ab!", "!", map[Counter]uint64{BeyondEnd: 1}},
		{"RST elsewhere", true, []seg{{0, 1, 1, ack, "ab"}, {0, 9, 0, rst, ""}, {0, 3, 1, ack, "c"}}, "abc", "", map[Counter]uint64{StrayReset: 1}},
		{"RST where the receiver is", true, []seg{{0, 1, 1, ack, "ab"}, {1, 1, 2, ack, ""}, {0, 2, 0, rst, ""}}, "ab!", "!", nil},
		{"RST at the end of what was missed", true, []seg{{0, 3, 1, ack, "c"}, {0, 4, 0, rst, ""}, {0, 1, 1, ack, "ab"}}, "abc!", "!", nil},
		{"RST ahead, and nobody took it", true, []seg{{0, 3, 1, ack, "c"}, {0, 4, 0, rst, ""}, {0, 1, 1, ack, "abcd"}}, "abcd", "", nil},
		{"RST before a hole is filled", true, []seg{{1, 3, 1, ack, "z"}, {0, 1, 0, rst, ""}}, "!", "<2 not_seen>z!", nil},
		{"RST after FIN", true, []seg{{0, 1, 1, ack | fin, "ab"}, {0, 4, 0, rst, ""}}, "ab!", "!", nil},
		{"refused", false, []seg{{0, 0, 0, syn, ""}, {1, 77, 1, rst | ack, ""}}, "!", "!", nil},
		{"refused by another", false, []seg{{0, 0, 0, syn, ""}, {1, 77, 9, rst | ack, ""}, {1, 0, 1, syn | ack, ""}, {0, 1, 1, ack, "a"}}, "a", "", nil},
		{"keep-alive", true, []seg{{0, 1, 1, ack, "ab"}, {1, 1, 3, ack, ""}, {0, 2, 1, ack, "\x00"}, {0, 2, 1, ack, ""}, {0, 3, 1, ack, "c"}}, "abc", "", map[Counter]uint64{KeepAlives: 1, Conflicting: 0}},
		{"not a keep-alive before it is acknowledged", true, []seg{{0, 1, 1, ack, "ab"}, {0, 2, 1, ack, "\x00"}}, "ab", "", map[Counter]uint64{KeepAlives: 0, Conflicting: 1}},
		{"zero-window probe", true, []seg{{0, 1, 1, ack, "ab"}, {0, 3, 1, ack, "c"}, {1, 1, 3, ack, ""}, {0, 3, 1, ack, "c"}, {0, 3, 1, ack, "cde"}}, "abcde", "", map[Counter]uint64{Conflicting: 0}},
		{"beyond the window", true, []seg{{0, 1, 1, ack, "a"}, {0, 2 + window + 1, 1, ack, "zz"}, {0, 2, 1, ack, "b"}}, "ab", "", map[Counter]uint64{BeyondWindow: 2}},
		{"old", true, []seg{{0, 1, 1, ack, "a"}, {0, -50, 1, ack, "zz"}}, "a", "", map[Counter]uint64{BeforeStart: 2}},
		{"urgent", true, []seg{{0, 1, 1, ack | urg, "ab"}}, "ab", "", map[Counter]uint64{UrgentSegments: 1}},
	}
	for _, isn := range []uint32{0xffffffff, 0xfffffffe, 0xfffffffd, 0, 0x7ffffffe} {
		for _, test := range tests {
			t.Run(fmt.Sprintf("%s/%#x", test.name, isn), func(t *testing.T) {
				c := open(Limits{})
				budget := c.Stream(0).budget
				segments := test.segments
				if test.opened {
					segments = append(append([]seg(nil), opening...), segments...)
				}
				var got [2]string
				for _, s := range segments {
					own, other := isn, isn+1000
					if s.end == 1 {
						own, other = other, own
					}
					c.Segment(s.end, own+uint32(s.seq), other+uint32(s.ack), s.flags, []byte(s.payload))
					for end := range got {
						got[end] = strings.TrimRight(got[end], "$!") + c.Stream(end).read(true)
						c.Stream(end).check(t)
					}
					budget.check(t)
				}
				if got != [2]string{test.client, test.server} {
					t.Errorf("got %q, want %q", got, [2]string{test.client, test.server})
				}
				for counter, want := range test.counted {
					if got := budget.Count(counter); got != want {
						t.Errorf("%d %s, want %d", got, counter, want)
					}
				}
			})
		}
	}
}

// TestStart: whether the first byte is the stream's.
func TestStart(t *testing.T) {
	for _, test := range []struct {
		name           string
		segments       []seg
		client, server bool
	}{
		{"handshake", []seg{{0, 0, 0, syn, ""}, {1, 0, 1, syn | ack, ""}}, true, true},
		{"answer only", []seg{{1, 0, 1, syn | ack, ""}}, true, true},
		{"none", []seg{{0, 5, 1, ack, "a"}, {1, 1, 6, ack, "b"}}, false, false},
		{"late", []seg{{0, 1, 1, ack, "a"}, {0, 0, 0, syn, ""}}, true, false},
		{"later data first", []seg{{0, 2, 1, ack, "b"}, {0, 0, 0, syn, ""}}, false, false},
	} {
		c := open(Limits{})
		for _, s := range test.segments {
			c.Segment(s.end, uint32(s.seq), uint32(s.ack), s.flags, []byte(s.payload))
		}
		if c.Stream(0).FromStart() != test.client || c.Stream(1).FromStart() != test.server {
			t.Errorf("%s: from the start %v and %v, want %v and %v", test.name,
				c.Stream(0).FromStart(), c.Stream(1).FromStart(), test.client, test.server)
		}
	}
}

// TestWrap: 9 GiB in segments of 64 KiB and beyond, the last third passing unseen.
func TestWrap(t *testing.T) {
	c := open(Limits{})
	s := c.Stream(0)
	const isn = 0xffffff00
	c.Segment(0, isn, 0, syn, nil)
	payload := make([]byte, 1<<20)
	at := uint64(0)
	for ; at < 6<<30; at += uint64(len(payload)) {
		s.Segment(isn+1+uint32(at), ack, payload)
		s.Consume(len(s.Next()))
		s.Acked(isn + 1 + uint32(at) + 1<<20)
	}
	if s.Offset() != at {
		t.Fatalf("offset %d, want %d", s.Offset(), at)
	}
	s.Skip(3 << 30)
	for range 12 {
		at += 1 << 28
		s.Passed(at)
	}
	s.Segment(s.Sequence(at), ack, []byte("next"))
	if got := s.read(true); got != "next" || s.Offset() != 9<<30+4 {
		t.Errorf("got %q, at %d", got, s.Offset())
	}
	s.budget.check(t)
}

// TestUnseen: where nobody sees acknowledgments, a full stream or a far jump tells
// that what is missing will not come.
func TestUnseen(t *testing.T) {
	c := open(Limits{Waiting: 10})
	s := c.Stream(0)
	s.Segment(100, syn, nil)
	s.Segment(106, 0, []byte("12345678"))
	if got := s.read(true); got != "" {
		t.Fatalf("read %q before the stream is full", got)
	}
	s.Segment(120, 0, []byte("abcd"))
	s.Hold()
	if got := s.read(true); got != "<5 not_seen>12345678" {
		t.Fatalf("read %q of a full stream", got)
	}
	s.Segment(120+1<<30+1<<29, 0, []byte("far"))
	if got := s.read(true); got != "<6 limit>ab<0 limit>far" && got != "<6 not_seen>ab<0 limit>far" {
		t.Fatalf("read %q after a jump", got)
	}
	s.budget.check(t)
}

// TestFinish: at the end of a recording all holes are told.
func TestFinish(t *testing.T) {
	c := open(Limits{})
	c.Segment(0, 0, 0, syn, nil)
	c.Segment(0, 3, 0, ack, []byte("cd"))
	c.Segment(0, 8, 0, ack|fin, []byte("hi"))
	c.Finish()
	if got := c.Stream(0).read(true); got != "<2 not_seen>cd<3 not_seen>hi$" {
		t.Errorf("read %q", got)
	}
}

// TestLimits: what is beyond a stream's limits is a hole with that cause, and bytes
// that are next go before those behind a hole.
func TestLimits(t *testing.T) {
	c := open(Limits{Waiting: 8, Pieces: 4})
	s := c.Stream(0)
	c.Segment(1, 0, 100, syn|ack, nil) // acknowledgments are seen
	s.Segment(100, ack, []byte("abcdefghijkl"))
	if got := s.read(false); got != "" {
		t.Fatalf("read %q without consuming", got)
	}
	if hole, ok := s.Hole(); !ok || hole != (Hole{4, policy.Limit}) {
		t.Fatalf("hole %v %v", hole, ok)
	}
	s.SkipHole()
	if s.Offset() != 12 {
		t.Fatalf("offset %d", s.Offset())
	}
	s.Segment(116, ack, []byte("56789012"))
	s.Segment(112, ack, []byte("1234"))
	if got := string(s.Next()); got != "1234" {
		t.Fatalf("offered %q", got)
	}
	s.Hold() // nothing was consumed: the last 4 give way
	s.check(t)
	if got := s.read(true); got != "12345678<4 limit>" {
		t.Fatalf("read %q", got)
	}
	for i := range uint32(6) {
		s.Segment(126+2*i, ack, []byte("x"))
		s.Hold()
		s.check(t)
	}
	if n := s.budget.Count(OverLimit); n != 4+4+2 {
		t.Errorf("%d bytes over limits", n)
	}
	s.budget.check(t)
}

// TestKept: what was read of a segment is kept to compare, also where the rest of
// it is given up.
func TestKept(t *testing.T) {
	c := open(Limits{Waiting: 2})
	s := c.Stream(0)
	c.Segment(1, 0, 100, syn|ack, nil)
	s.Segment(104, ack, []byte("ef"))
	s.Segment(100, ack, []byte("abcdefghij"))
	s.Consume(len(s.Next()))
	if got := string(s.Next()); got != "ef" || s.Offset() != 4 {
		t.Fatalf("offered %q at %d", got, s.Offset())
	}
	if s.Next() != nil {
		t.Fatal("more than the limit is offered")
	}
	if hole, ok := s.Hole(); !ok || hole != (Hole{4, policy.Limit}) {
		t.Fatalf("hole %v %v", hole, ok)
	}
	s.Hold()
	if r := s.Segment(100, ack, []byte("aXcd")); r.Differing != 1 || r.At != 1 {
		t.Errorf("%+v of another copy", r)
	}
	s.check(t)
	s.budget.check(t)
}

// TestUnchecked: another copy of what was given up, or is no longer kept, is told.
func TestUnchecked(t *testing.T) {
	c := open(Limits{Waiting: 2, Kept: -1})
	s := c.Stream(0)
	c.Segment(1, 0, 100, syn|ack, nil)
	for i, step := range []struct {
		at      uint32
		payload string
		want    Events
		read    string
	}{
		{102, "cdef", New | OutOfOrder, ""},
		{104, "XY", New | OutOfOrder | Unchecked, ""},
		{100, "ab", New, "abcd"},
		{104, "xy", New | Unchecked, "xy"},
		{106, "g", New, "g"},
		{106, "h", Again | Unchecked, ""},
	} {
		r := s.Segment(step.at, ack, []byte(step.payload))
		if got := s.read(true); r.Events != step.want || got != step.read {
			t.Errorf("step %d: events %b, read %q; want %b, %q", i, r.Events, got, step.want, step.read)
		}
	}
	s.Acked(107)
	if r := s.Segment(106, ack, []byte("hh")); r.Events != New|Again {
		t.Errorf("events %b of what was acknowledged", r.Events)
	}
	s.Hold()
	s.budget.check(t)
}

// TestSkipAhead: a segment behind a hole, all of it skipped, needs not come again.
func TestSkipAhead(t *testing.T) {
	c := open(Limits{})
	s := c.Stream(0)
	s.Segment(0, syn, nil)
	s.Segment(5, 0, []byte("5678"))
	s.Skip(8)
	s.Segment(1, 0, []byte("1234"))
	s.Segment(9, 0, []byte("9"))
	if got := s.read(true); got != "9" {
		t.Errorf("read %q", got)
	}
	s.budget.check(t)
}

// TestSkip: what is skipped is not held, wherever it comes.
func TestSkip(t *testing.T) {
	c := open(Limits{})
	s := c.Stream(0)
	s.Segment(0, syn, nil)
	s.Skip(10)
	s.Segment(5, 0, []byte("5678"))
	s.Hold()
	if s.waiting != 0 || s.charged.weight != leastPieces*pieceBytes {
		t.Errorf("%d bytes wait, %d are charged", s.waiting, s.charged.weight)
	}
	s.Segment(9, 0, []byte("90ab"))
	if got := s.read(true); got != "" {
		t.Errorf("read %q behind a hole", got)
	}
	s.Segment(1, 0, []byte("1234"))
	if got := s.read(true); got != "ab" || s.Offset() != 12 {
		t.Errorf("read %q, at %d", got, s.Offset())
	}
	s.Skip(math.MaxUint64)
	s.Segment(13, 0, make([]byte, 1<<16))
	if s.Next() != nil || s.Offset() != math.MaxUint64 {
		t.Errorf("offset %d", s.Offset())
	}
	s.Segment(13+1<<16, fin, nil)
	if !s.Closed() {
		t.Error("the end of what is skipped is not known")
	}
	if n := s.budget.Count(Skipped); n != 10+1<<16 {
		t.Errorf("%d bytes skipped", n)
	}
	s.budget.check(t)
}
