package stream

import (
	"bytes"
	"math"

	"github.com/weirnet/weir/internal/packet"
)

// payload takes bytes that begin at an offset.
func (s *Stream) payload(from int64, data []byte, flags uint8, r *Result) {
	b := s.budget
	if from < 0 {
		early := int(min(-from, int64(len(data))))
		b.count(BeforeStart, uint64(early))
		if s.state&fromStart != 0 && !(from == -1 && len(data) == 1) { // or a keep-alive, for the SYN's number
			r.Events |= Stray
		}
		if data = data[early:]; len(data) == 0 {
			return
		}
		from = 0
	}
	at := uint64(from)
	if s.state&isReset != 0 || s.state&hasEnd != 0 && beyond(at, uint64(len(data))) > s.end {
		inside := 0
		if s.state&isReset == 0 && at < s.end {
			inside = int(s.end - at)
		}
		b.count(BeyondEnd, uint64(len(data)-inside))
		r.Events |= AfterEnd
		if data = data[:inside]; inside == 0 {
			return
		}
	}
	if at > max(s.next, s.ahead)+window {
		if s.state&acks != 0 {
			b.count(BeyondWindow, uint64(len(data)))
			r.Events |= Stray
			return
		}
		// Nobody sees what the receiver has. So much was missed that even how
		// often the numbers went round is unknown.
		s.unsure = at
		s.settle(at)
	}
	to := at + uint64(len(data))
	if last := len(s.pieces) - 1; at == s.next && at >= s.want && at >= s.lost.to && (last < 0 || s.pieces[last].end <= at) {
		s.segment, s.segmentAt, s.next = data, at, to
		r.Events |= New
		s.reach(to)
		return
	}
	if at < s.high && s.keepAlive(at, data, flags) {
		b.count(KeepAlives, 1)
		b.count(Repeated, 1)
		r.Events |= Again
		return
	}
	s.compare(at, data, r)
	s.add(at, to, data, r)
	s.reach(to)
}

// keepAlive says whether the byte is one of a keep-alive probe (RFC 1122 4.2.3.6):
// it may have any content, and the receiver throws it away, as long as it has the
// true one.
func (s *Stream) keepAlive(at uint64, data []byte, flags uint8) bool {
	return len(data) == 1 && at+1 == s.next && flags&(packet.SYN|packet.FIN|packet.RST) == 0 &&
		(s.state&acks == 0 || s.acked >= s.next)
}

// compare counts what of the data came before, and where it is not the same.
func (s *Stream) compare(at uint64, data []byte, r *Result) {
	b := s.budget
	end := at + uint64(len(data))
	for i := s.find(at); at < end; i++ {
		// What no piece has.
		to := end
		if i < len(s.pieces) {
			to = min(end, s.pieces[i].at)
		}
		if at < to {
			if old := min(to, s.next); at < old {
				known := min(max(at, s.acked), old)
				b.count(Repeated, known-at)
				b.count(Unverified, old-known)
				r.Events |= Again
				if known < old {
					r.Events |= Unchecked
				}
			}
			data, at = data[to-at:], to
		}
		if at == end {
			return
		}
		p := &s.pieces[i]
		to = min(end, p.end)
		n := int(to - at)
		r.Events |= Again
		if p.buf == nil {
			b.count(Unverified, uint64(n))
		} else {
			b.count(Repeated, uint64(n))
			s.differ(p.bytes()[at-p.at:][:n], data[:n], at, r)
		}
		data, at = data[n:], to
	}
}

// differ compares two copies of the bytes at an offset.
func (s *Stream) differ(first, second []byte, at uint64, r *Result) {
	if bytes.Equal(first, second) {
		return
	}
	differing := 0
	for i, c := range first {
		if c == second[i] {
			continue
		}
		if differing++; differing > 1 {
			continue
		}
		place := at + uint64(i)
		if r.Events&Conflict == 0 {
			r.Events |= Conflict
			r.At = place
		}
		if s.state&hasConflict == 0 || place < s.differs {
			s.state |= hasConflict
			s.differs = place
		}
	}
	r.Differing += differing
	s.budget.count(Conflicting, uint64(differing))
}

// add makes what is new of the data readable, and notes what nobody wants.
func (s *Stream) add(at, to uint64, data []byte, r *Result) {
	fresh := max(at, s.next)
	if fresh >= to {
		return
	}
	if at > s.next {
		r.Events |= OutOfOrder
	}
	if wanted := min(max(fresh, s.want), to); fresh < wanted {
		s.unwanted(fresh, wanted, r)
		fresh = wanted
	}
	s.segment, s.segmentAt = data[fresh-at:], fresh
	if s.uncovered(fresh, to) > 0 {
		r.Events |= New
		if fresh < s.lost.to && s.lost.from < to {
			// The receiver may have what was given up. This copy is read all the same.
			r.Events |= Unchecked
		}
	} else {
		s.segment = nil
	}
	s.catchUp()
}

// unwanted notes bytes before want that came.
func (s *Stream) unwanted(from, to uint64, r *Result) {
	if n := s.uncovered(from, to); n > 0 {
		s.budget.count(Skipped, n)
		r.Events |= New
	}
	if from == s.next {
		s.next = to
	} else {
		s.cover(from, to)
	}
}

// cover makes pieces without content of what no piece has, so that next passes it
// in time. Where there is no room for them, it is as if it had not come.
func (s *Stream) cover(from, to uint64) {
	for at, end := s.gap(from, to); at < end; at, end = s.gap(end, to) {
		i := s.find(at)
		if i > 0 && s.pieces[i-1].end == at && s.pieces[i-1].buf == nil {
			s.pieces[i-1].end = end
		} else if !s.insert(i, piece{at: at, end: end}) {
			return
		}
	}
}

// catchUp moves next over all that has come, and over what is missing where nobody
// wants it.
func (s *Stream) catchUp() {
	for i := s.find(s.next); ; {
		if i < len(s.pieces) && s.pieces[i].at <= s.next {
			s.next = s.pieces[i].end
			i++
			continue
		}
		missing := s.missing(i)
		if missing == 0 { // the segment has it
			s.next = s.segmentEnd()
			if i < len(s.pieces) {
				s.next = min(s.next, s.pieces[i].at)
			}
			continue
		}
		to := min(s.settled, s.want, s.next+missing)
		if to <= s.next {
			break
		}
		s.budget.count(SkippedHole, to-s.next)
		s.next = to
	}
	if s.state&maybeReset != 0 && s.next == s.end {
		s.abort()
	}
}

// missing is the number of bytes from next to where something came, which is in
// the segment or in the piece i; as many as possible where nothing did.
func (s *Stream) missing(i int) uint64 {
	ahead := uint64(math.MaxUint64)
	if i < len(s.pieces) {
		ahead = s.pieces[i].at
	}
	if s.next < s.segmentEnd() && len(s.segment) > 0 {
		ahead = min(ahead, max(s.segmentAt, s.next))
	}
	return ahead - s.next
}

// settle says that what is missing before an offset is not waited for.
func (s *Stream) settle(offset uint64) {
	if offset > s.settled {
		s.settled = offset
		s.catchUp()
	}
}
