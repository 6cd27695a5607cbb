package stream

import "github.com/weirnet/weir/internal/policy"

// Next returns bytes that begin at Offset; nil where there are none, or none beyond
// those that were offered and of which nothing was consumed. So a caller that
// consumes nothing is offered more each time, in one piece. They are valid until
// the next call for any stream of the budget.
func (s *Stream) Next() []byte {
	for s.want < s.next {
		data := s.front()
		if to := s.want + uint64(len(data)); to > s.offered {
			s.offered = to
			return data
		} else if to == s.next || !s.join(to) {
			return nil
		}
	}
	return nil
}

// Awaited is the offset of the first byte that has not come, or was given up.
func (s *Stream) Awaited() uint64 { return s.next }

// front is what lies together at want, which is before next.
func (s *Stream) front() []byte {
	i := 0
	if len(s.pieces) > 0 {
		i = s.find(s.want)
	}
	to := s.next
	if i < len(s.pieces) {
		if p := &s.pieces[i]; p.at <= s.want {
			return p.bytes()[s.want-p.at:]
		}
		to = min(to, s.pieces[i].at)
	}
	return s.segment[s.want-s.segmentAt : to-s.segmentAt]
}

// join puts what lies from an offset on, which is before next, behind what was
// offered before that, in one piece. What cannot be held so is given up; false then.
func (s *Stream) join(from uint64) bool {
	i := s.find(s.want)
	if i == len(s.pieces) || s.pieces[i].at > s.want {
		all := s.hold(s.want, s.part(s.want, from))
		if !all {
			s.remember()
			s.pass(from)
		}
		return all
	}
	if i+1 == len(s.pieces) || s.pieces[i+1].at > from {
		to := s.next
		if i+1 < len(s.pieces) {
			to = min(to, s.pieces[i+1].at)
		}
		data, cause := s.part(from, to), policy.Limit
		if n := s.room(from, len(data)); n > 0 {
			if cause = s.put(from, data[:n]); cause == 0 {
				s.wait(n)
				return true
			}
		}
		s.remember()
		s.lose(from, to, cause)
		s.pass(to)
		return false
	}
	p := s.pieces[i+1]
	if !s.extend(i, p.bytes()) {
		s.wait(-p.size())
		s.lose(p.at, p.end, policy.Overload)
		s.pass(p.end)
		s.remove(i+1, i+2)
		return false
	}
	s.remove(i+1, i+2)
	return true
}

// part is the segment's bytes between two offsets.
func (s *Stream) part(from, to uint64) []byte {
	return s.segment[from-s.segmentAt : to-s.segmentAt]
}

// Consume passes n bytes that were offered.
func (s *Stream) Consume(n int) {
	if n > 0 {
		s.advance(s.want + uint64(n))
	}
}

// Reoffer makes Next return once more what it offered and nothing was consumed of:
// to a caller that could not read it before it knew what the other end says.
func (s *Stream) Reoffer() { s.offered = s.want }

// Skip passes n bytes, whether they have come or not: nothing of those that come
// later is held, and no hole in them is told.
func (s *Stream) Skip(n uint64) {
	if n > 0 {
		s.advance(beyond(s.want, n))
	}
}

// advance makes an offset the next for the caller.
func (s *Stream) advance(to uint64) {
	if to <= s.want {
		return
	}
	from, offered := s.want, min(s.offered, to)
	s.want, s.offered = to, to
	s.kept = max(s.kept, min(to, s.next))
	delivered := offered - from
	s.budget.count(Delivered, delivered)
	if len(s.pieces) == 0 && offered == to {
		return
	}
	came := uint64(0)
	if start, end := max(from, s.segmentAt), min(to, s.segmentEnd()); start < end {
		came = s.uncovered(start, end)
	}
	came += s.drop(from, to)
	s.budget.count(Skipped, came-delivered)
	if start, end := s.segmentAt, min(to, s.segmentEnd()); start > s.next && start < end {
		s.cover(start, end)
		s.pass(end)
	}
	s.catchUp()
	s.trim()
}

// drop counts the bytes of pieces between two offsets as read, and returns their
// number. Of those behind a hole only their place is left.
func (s *Stream) drop(from, to uint64) (came uint64) {
	for i := s.find(from); i < len(s.pieces) && s.pieces[i].at < to; i++ {
		p := &s.pieces[i]
		if p.buf == nil {
			continue
		}
		came += min(p.end, to) - max(p.at, from)
		switch {
		case p.at <= s.next:
		case p.end <= to:
			s.discard(p)
		case s.insert(i, piece{at: p.at, end: to}):
			i++
			fallthrough
		default:
			p = &s.pieces[i]
			p.low += int(to - p.at)
			p.at = to
		}
	}
	s.wait(-int(came))
	return came
}

// Hole is a part of a stream that will never be read.
type Hole struct {
	// Length is 0 where it is unknown.
	Length uint64
	// Cause is NotSeen, or Limit or Overload where some of it, or of a hole near
	// it, was given up for that.
	Cause policy.Cause
}

// Hole returns the one that lies behind all that Next has offered. SkipHole passes
// it, and what was offered before.
func (s *Stream) Hole() (Hole, bool) {
	if s.settled <= s.next || s.want > s.next || s.offered < s.next {
		return Hole{}, false
	}
	to := min(s.settled, s.next+s.missing(s.find(s.next)))
	hole := Hole{Length: to - s.next, Cause: policy.NotSeen}
	if s.lost.from < to && s.lost.to > s.next {
		hole.Cause = s.cause
	}
	if s.unsure > s.next && s.unsure <= to {
		hole.Length = 0
	}
	return hole, true
}

// SkipHole passes the hole that Hole returns, if there is one.
func (s *Stream) SkipHole() {
	hole, ok := s.Hole()
	if !ok {
		return
	}
	s.budget.count(Holes, 1)
	s.budget.count(HoleBytes, hole.Length)
	to := min(s.settled, s.next+s.missing(s.find(s.next)))
	s.advance(s.next)
	s.next, s.want, s.offered = to, to, to
	s.catchUp()
}
