package quic

import (
	"bytes"
	"slices"

	"github.com/weirnet/weir/internal/policy"
)

// span is a piece of a stream that is there: bytes from to to-1.
type span struct{ from, to int }

// stream puts the pieces of an end's handshake in order. They come in any order and
// may overlap, but not contradict each other.
type stream struct {
	data  []byte // up to the farthest byte that came
	spans []span // in order, none touching the next
	read  int    // bytes whose messages were read
}

// add takes a piece. What it returns is 0, or why the stream cannot be read.
func (s *stream) add(offset uint64, piece []byte, maxBytes, maxPieces int) policy.Cause {
	if len(piece) == 0 {
		return 0
	}
	if offset > uint64(maxBytes) || len(piece) > maxBytes-int(offset) {
		return policy.Limit
	}
	from, to := int(offset), int(offset)+len(piece)
	if to > len(s.data) {
		s.data = append(s.data, make([]byte, to-len(s.data))...)
	}
	// Those that overlap it, or touch it, become one with it.
	first, _ := slices.BinarySearchFunc(s.spans, from, func(o span, from int) int { return o.to - from })
	last, whole := first, span{from, to}
	for ; last < len(s.spans) && s.spans[last].from <= to; last++ {
		o := s.spans[last]
		a, b := max(from, o.from), min(to, o.to)
		// Whoever reads it may keep the first or the last of two that differ.
		if a < b && !bytes.Equal(s.data[a:b], piece[a-from:b-from]) {
			return policy.Malformed
		}
		whole.from, whole.to = min(whole.from, o.from), max(whole.to, o.to)
	}
	copy(s.data[from:to], piece)
	s.spans = slices.Replace(s.spans, first, last, whole)
	if len(s.spans) > maxPieces {
		return policy.Limit
	}
	return 0
}

// next is the next message that is whole: its type and its body. A message of more
// than limit bytes is never whole.
func (s *stream) next(limit int) (kind uint8, body []byte, cause policy.Cause, ok bool) {
	if len(s.spans) == 0 || s.spans[0].from > 0 {
		return 0, nil, 0, false
	}
	const header = 4
	there := s.data[s.read:s.spans[0].to]
	if len(there) < header {
		return 0, nil, 0, false
	}
	n := int(there[1])<<16 | int(there[2])<<8 | int(there[3])
	switch {
	case n > limit:
		return there[0], nil, policy.Limit, false
	case len(there) < header+n:
		return there[0], nil, 0, false
	}
	s.read += header + n
	return there[0], there[header : header+n], 0, true
}
