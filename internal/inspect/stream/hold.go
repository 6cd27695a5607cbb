package stream

import "github.com/weirnet/weir/internal/policy"

// Hold copies what was not read of the segment: after it the payload can be used
// for something else. What there is no room for is given up.
func (s *Stream) Hold() {
	if len(s.segment) == 0 {
		return
	}
	s.remember()
	s.each(max(s.segmentAt, s.want), s.segmentEnd(), (*Stream).hold)
	s.segment = nil
	s.trim()
}

// each calls with all parts between two offsets that only the segment has, and
// takes them out of it.
func (s *Stream) each(from, to uint64, take func(*Stream, uint64, []byte) bool) {
	for {
		at, end := s.gap(from, min(to, s.segmentEnd()))
		if at >= end {
			return
		}
		take(s, at, s.part(at, end))
		s.pass(end)
		from = end
	}
}

// remember keeps what was read of the segment, to compare.
func (s *Stream) remember() {
	if s.budget.limits.Kept > 0 {
		s.each(max(s.segmentAt, s.floor()), min(s.segmentEnd(), s.kept), (*Stream).keep)
	}
}

// keep holds bytes that were read, if there is room.
func (s *Stream) keep(at uint64, data []byte) bool { return s.put(at, data) == 0 }

// hold holds bytes that were not read, as many as there is room for; false where
// that is not all.
func (s *Stream) hold(at uint64, data []byte) bool {
	n, cause := s.room(at, len(data)), policy.Limit
	if n > 0 {
		if failed := s.put(at, data[:n]); failed != 0 {
			n, cause = 0, failed
		} else {
			s.wait(n)
		}
	}
	s.lose(at+uint64(n), at+uint64(len(data)), cause)
	return n == len(data)
}

// wait counts bytes that are held and not read.
func (s *Stream) wait(n int) {
	s.waiting += n
	s.budget.waiting += n
}

// room is how many of n bytes the stream's limit allows. Bytes that are next go
// before those that are further. Where nobody sees what the receiver acknowledges, a
// full stream is what tells that it waits in vain.
func (s *Stream) room(at uint64, n int) int {
	free := s.budget.limits.Waiting - s.waiting
	if n > free {
		if at < s.next {
			free += s.shed(at, n-free)
		} else if s.state&acks == 0 {
			if i := s.find(s.next); i < len(s.pieces) {
				at = min(at, s.pieces[i].at)
			}
			s.settle(at)
		}
	}
	return min(n, free)
}

// shed gives up to n bytes of the furthest pieces up, down to an offset.
func (s *Stream) shed(down uint64, n int) (gone int) {
	for last := len(s.pieces) - 1; last >= 0 && gone < n; last-- {
		p := &s.pieces[last]
		if p.at <= down || p.buf == nil {
			break
		}
		k := min(n-gone, p.size())
		s.truncate(p.end - uint64(k)) // it is further; and its copy of the piece is the second
		p.end -= uint64(k)
		s.wait(-k)
		s.lose(p.end, p.end+uint64(k), policy.Limit)
		gone += k
		if p.size() == 0 {
			s.remove(last, last+1)
		}
	}
	return gone
}

// truncate gives up what only the segment has from an offset on.
func (s *Stream) truncate(offset uint64) {
	end := s.segmentEnd()
	if offset >= end {
		return
	}
	for at, to := s.gap(max(offset, s.segmentAt, s.want), end); at < to; at, to = s.gap(to, end) {
		s.lose(at, to, policy.Limit)
	}
	s.segment = s.segment[:max(offset, s.segmentAt)-s.segmentAt]
}

// put holds bytes that no piece has; or says why not.
func (s *Stream) put(at uint64, data []byte) policy.Cause {
	i := s.find(at)
	if i > 0 && s.pieces[i-1].end == at && s.pieces[i-1].buf != nil {
		i--
		if !s.extend(i, data) {
			return policy.Overload
		}
	} else {
		if len(s.pieces) == s.budget.limits.Pieces && i > 0 && s.wasRead(0) {
			s.remove(0, 1)
			i--
		}
		if len(s.pieces) == s.budget.limits.Pieces {
			last := &s.pieces[len(s.pieces)-1]
			if at < s.want || at >= s.next || last.at <= at || last.buf == nil {
				return policy.Limit
			}
			s.shed(at, last.size())
		}
		buf := s.budget.buffer(s, len(data))
		if buf == nil {
			return policy.Overload
		}
		copy(buf, data)
		if !s.insert(i, piece{at: at, end: at + uint64(len(data)), buf: buf}) {
			s.budget.freeBuffer(s, buf)
			return policy.Overload
		}
	}
	// What follows is put in with it where that costs no more than the bytes that
	// have come.
	if i+1 < len(s.pieces) {
		p := &s.pieces[i+1]
		if p.at == s.pieces[i].end && p.buf != nil && p.size() <= len(data) && s.extend(i, p.bytes()) {
			s.remove(i+1, i+2)
		}
	}
	return 0
}

// pass forgets the segment before an offset.
func (s *Stream) pass(to uint64) {
	if to > s.segmentAt {
		n := min(to-s.segmentAt, uint64(len(s.segment)))
		s.segment, s.segmentAt = s.segment[n:], s.segmentAt+n
	}
}

// lose notes bytes that came and are given up. All before next has come: what of
// it is given up is not waited for.
func (s *Stream) lose(from, to uint64, cause policy.Cause) {
	if from >= to {
		return
	}
	counter := OverLimit
	if cause == policy.Overload {
		counter = OverBudget
	}
	s.budget.count(counter, to-from)
	if s.lost.to <= min(s.next, from) {
		s.lost, s.cause = span{from, to}, cause
	}
	s.lost = span{min(s.lost.from, from), max(s.lost.to, to)}
	s.cause = min(s.cause, cause)
	if from < s.next {
		s.settled = max(s.settled, s.next)
		s.next = from
		s.offered = min(s.offered, from)
	}
}

// yield gives up what is held, for a stream that has less: what is only kept to
// compare, if there is any, or else all.
func (s *Stream) yield() {
	n := 0
	for n < len(s.pieces) && s.wasRead(n) {
		n++
	}
	if n > 0 {
		s.remove(0, n)
		return
	}
	for i := range s.pieces {
		if p := &s.pieces[i]; p.buf != nil {
			s.lose(max(p.at, s.want), p.end, policy.Overload)
		}
	}
	s.each(max(s.segmentAt, s.want), s.segmentEnd(), func(s *Stream, at uint64, data []byte) bool {
		s.lose(at, at+uint64(len(data)), policy.Overload)
		return true
	})
	s.segment = nil
	s.wait(-s.waiting)
	s.remove(0, len(s.pieces))
	if s.budget.OnYield != nil {
		s.budget.OnYield(s.conversation)
	}
}
