package inspector_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/packet"
)

// sender sends segments of one end, without an allocation of its own.
type sender struct {
	i   *inspector.Inspector
	c   inspector.Connection
	p   inspector.Packet
	now time.Time
}

// bulk is a connection in the midst of what tells nothing.
func bulk(t testing.TB, kind string) *sender {
	w := newWorld(t, "", nil)
	k := w.open(443)
	switch kind {
	case "body":
		k.client(getA).server("HTTP/1.1 200 OK\r\nContent-Length: 4000000000000\r\n\r\n")
	case "tls":
		k.turns(shake(t, "good.example", tls.VersionTLS13))
	case "unknown":
		k.client("\x00\x01\x02\x03\x04\x05")
	case "own":
		k = w.connect(443, func(c *inspector.Connection) { c.Own = true })
		k.client("x")
	}
	s := &sender{i: w.Inspector, c: k.c, now: w.now}
	s.p = inspector.Packet{End: 1, Seq: k.next[1], Ack: k.next[0], Flags: packet.ACK, Payload: make([]byte, 1400)}
	return s
}

func (s *sender) segment() {
	s.now = s.now.Add(time.Microsecond)
	s.p.Time = s.now
	s.i.Packet(&s.c, &s.p)
	s.p.Seq += uint32(len(s.p.Payload))
}

// Nothing is allocated for packets of nothing of interest.
func TestNoAllocation(t *testing.T) {
	for _, kind := range []string{"body", "tls", "unknown", "own"} {
		s := bulk(t, kind)
		for range 100 {
			s.segment()
		}
		if n := testing.AllocsPerRun(1000, s.segment); n > 0 {
			t.Errorf("%s: %v allocations for a packet", kind, n)
		}
	}
}

func BenchmarkBulk(b *testing.B) {
	for _, kind := range []string{"body", "tls", "unknown"} {
		b.Run(kind, func(b *testing.B) {
			s := bulk(b, kind)
			b.SetBytes(int64(len(s.p.Payload)))
			b.ReportAllocs()
			for b.Loop() {
				s.segment()
			}
		})
	}
}

// Whole conversations, from the SYN to the last FIN, with records of everything and a
// policy of six rules.
func BenchmarkConversations(b *testing.B) {
	for _, c := range conversations(b) {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b, pages, nil)
			n := 0
			for _, t := range c.turns {
				n += len(t.text)
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				k := w.open(c.port)
				for _, t := range c.turns {
					k.say(t.end, t.text)
				}
				k.close()
				w.said, w.settling = w.said[:0], w.settling[:0]
				clear(w.settled)
			}
		})
	}
}
