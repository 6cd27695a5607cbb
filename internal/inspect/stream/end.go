package stream

import "github.com/weirnet/weir/internal/packet"

// finish takes a FIN or an RST, which lies at an offset.
func (s *Stream) finish(at int64, flags uint8, r *Result) {
	if s.state&isReset != 0 {
		return
	}
	if flags&packet.RST != 0 {
		s.reset(at, r)
		return
	}
	place := uint64(max(at, 0))
	switch {
	case s.state&hasEnd != 0 && place == s.end:
	case s.state&hasEnd != 0, at < 0, place < s.high, place > max(s.next, s.ahead)+window:
		s.budget.count(StrayFIN, 1)
		r.Events |= AfterEnd
	default:
		s.end = place
		s.state = s.state&^maybeReset | hasEnd
		s.high = max(s.high, place)
		r.Events |= Ended
	}
}

// reset takes an RST. Its receiver takes it at exactly what it expects, and answers
// any other with a challenge (RFC 9293 3.10.7.4). One at the end of what was sent
// may be such where segments were missed: it counts once all before it has come.
func (s *Stream) reset(at int64, r *Result) {
	place := uint64(max(at, 0))
	ended := s.state&hasEnd != 0 && s.next == s.end
	switch {
	case at >= 0 && (place == s.next || ended && place == s.end+1 || s.state&acks != 0 && place == s.acked):
		s.abort()
		r.Events |= Ended
	case at >= 0 && place == s.high && s.state&hasEnd == 0:
		s.end = place
		s.state |= maybeReset
		r.Events |= Ended
	default:
		s.budget.count(StrayReset, 1)
		r.Events |= Stray
	}
}

// abort ends the stream with what came: nothing more will.
func (s *Stream) abort() {
	if s.state&isReset != 0 {
		return
	}
	s.state = s.state&^maybeReset | isReset | hasEnd
	s.end = s.high
	s.settle(s.high)
}

// Finish says that nothing more will come: the connection has timed out, or a
// recording ends. What is missing is a hole.
func (s *Stream) Finish() { s.settle(s.high) }

// Acked takes an acknowledgment number that the receiver has sent: what it has and
// was not seen is a hole. One beyond all that was seen counts only when what comes
// shows that so much was sent: otherwise an end could make the other's next bytes
// look old.
func (s *Stream) Acked(ack uint32) {
	if s.state&begun == 0 || s.state&isReset != 0 || s.conversation.source == nil {
		return
	}
	at := s.offset(ack)
	if at < 0 {
		return
	}
	s.state |= acks
	place := uint64(at)
	if s.state&hasEnd != 0 && place > s.end {
		if place > s.end+1 { // the receiver took no FIN there
			s.state &^= hasEnd
			s.budget.count(StrayFIN, 1)
		} else {
			place = s.end
		}
	}
	switch {
	case place > s.high:
		if place <= s.next+window {
			s.ahead = max(s.ahead, place)
		}
		s.budget.count(StrayAck, 1)
	case place > s.acked:
		s.acknowledge(place)
	}
}

func (s *Stream) acknowledge(place uint64) {
	s.acked = place
	s.settle(place)
	s.trim()
}

// reach notes how far bytes have come.
func (s *Stream) reach(to uint64) {
	if to <= s.high {
		return
	}
	s.high = to
	if s.state&maybeReset != 0 && to > s.end {
		s.state &^= maybeReset // the sender goes on, so nobody took it
	}
	if s.ahead > s.acked && s.ahead <= to {
		s.acknowledge(s.ahead)
	}
}

// Passed says that the bytes before an offset went by where nobody could see them:
// those among them that the caller wants are a hole. Who skips more than 1 GiB
// unseen must say so at least that often, for sequence numbers to tell places.
func (s *Stream) Passed(offset uint64) {
	if s.state&begun != 0 && s.conversation.source != nil {
		s.high = max(s.high, offset)
		s.settle(offset)
	}
}

// Closed says whether Next has offered, or Hole told, all up to a FIN or a reset.
func (s *Stream) Closed() bool { return s.state&hasEnd != 0 && s.next >= s.end }

// End is the offset of the FIN, or of where the stream was when it was reset; ok is
// false while there is none.
func (s *Stream) End() (offset uint64, ok bool) { return s.end, s.state&hasEnd != 0 }

// WasReset says whether an RST has ended the stream.
func (s *Stream) WasReset() bool { return s.state&isReset != 0 }
