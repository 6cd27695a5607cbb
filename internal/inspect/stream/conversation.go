package stream

import (
	"net/netip"

	"github.com/weirnet/weir/internal/packet"
)

// Conversation is the two streams of one TCP connection. Open begins it, Release
// ends it; its memory can then be used for the next.
type Conversation struct {
	streams      [2]Stream
	source       *source // nil when it is not open
	older, newer *Conversation
}

// Open begins a connection that an address has initiated, with streams of which
// nothing was seen. It never fails: where the budget has too many, another is
// evicted.
func (c *Conversation) Open(b *Budget, initiator netip.Addr) {
	c.Release()
	*c = Conversation{}
	b.join(c, initiator)
	for end := range c.streams {
		c.streams[end].conversation = c
		c.streams[end].budget = b
	}
}

// Stream is what an end sends: 0 is the initiator, 1 the other.
func (c *Conversation) Stream(end int) *Stream { return &c.streams[end] }

// IsOpen is false before Open, and after Release or when the budget has evicted it.
func (c *Conversation) IsOpen() bool { return c.source != nil }

// Segment takes a segment that an end has sent, as Stream.Segment does, and tells
// the other stream what it acknowledges or resets. Both streams may have something
// to read then.
func (c *Conversation) Segment(end int, seq, ack uint32, flags uint8, payload []byte) Result {
	own, peer := &c.streams[end], &c.streams[end^1]
	if c.source != nil && flags&packet.ACK != 0 {
		// What answers a SYN tells its number, even where that was missed.
		if flags&(packet.SYN|packet.RST) == packet.SYN && !peer.Begun() {
			peer.begin(ack)
			peer.state |= fromStart
		}
		switch {
		case flags&packet.RST == 0:
			peer.choose(ack)
			peer.Acked(ack)
		case !own.Begun() && peer.Begun() && peer.refused(ack):
			// It refuses the connection; its number means nothing.
			own.abort()
		}
	}
	r := own.Segment(seq, flags, payload)
	if own.WasReset() {
		peer.abort()
	}
	return r
}

// refused says whether an acknowledgment with an RST answers the SYN (RFC 9293
// 3.10.7.3), or the data in it.
func (s *Stream) refused(ack uint32) bool {
	at := s.offset(ack)
	return s.FromStart() && at >= 0 && uint64(at) <= s.high
}

// Finish says that nothing more will come from either end.
func (c *Conversation) Finish() {
	c.streams[0].Finish()
	c.streams[1].Finish()
}

// Release gives back all that is held. What was not read is counted.
func (c *Conversation) Release() {
	if c.source == nil {
		return
	}
	b := c.streams[0].budget
	for end := range c.streams {
		c.streams[end].release()
	}
	b.leave(c)
}

func (s *Stream) release() {
	unread := uint64(s.waiting)
	if from, to := max(s.segmentAt, s.want), s.segmentEnd(); from < to {
		unread += s.uncovered(from, to)
	}
	s.budget.count(Released, unread)
	s.wait(-s.waiting)
	s.segment = nil
	s.remove(0, len(s.pieces))
	s.next, s.settled = s.want, s.want
}
