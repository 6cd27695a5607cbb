package stream

// piece is bytes that are held, from at to before end.
type piece struct {
	at, end uint64
	// buf is a buffer of the budget; nil where the bytes came and nobody wants them.
	buf []byte
	low int // where in buf the first byte is
}

func (p *piece) bytes() []byte { return p.buf[p.low : p.low+p.size()] }
func (p *piece) size() int     { return int(p.end - p.at) }

// find is the index of the first piece that ends behind an offset.
func (s *Stream) find(offset uint64) int {
	low, high := 0, len(s.pieces)
	for low < high {
		middle := int(uint(low+high) / 2)
		if s.pieces[middle].end > offset {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// gap is the first part between two offsets that no piece has; an empty one where
// there is none.
func (s *Stream) gap(from, to uint64) (at, end uint64) {
	for i := s.find(from); i < len(s.pieces) && from < to; i++ {
		p := &s.pieces[i]
		if p.at > from {
			return from, min(to, p.at)
		}
		from = p.end
	}
	return from, max(from, to)
}

// uncovered is the number of bytes that no piece has.
func (s *Stream) uncovered(from, to uint64) (n uint64) {
	for at, end := s.gap(from, to); at < end; at, end = s.gap(end, to) {
		n += end - at
	}
	return n
}

// insert makes p the piece of index i; false where there is no room in the list.
func (s *Stream) insert(i int, p piece) bool {
	if len(s.pieces) == s.budget.limits.Pieces {
		return false
	}
	if len(s.pieces) == cap(s.pieces) {
		list := s.budget.pieces(s, len(s.pieces)+1)
		if list == nil {
			return false
		}
		list = append(list, s.pieces...)
		s.budget.freePieces(s, s.pieces)
		s.pieces = list
	}
	s.pieces = append(s.pieces, piece{})
	copy(s.pieces[i+1:], s.pieces[i:])
	s.pieces[i] = p
	return true
}

// remove takes the pieces from i to before j away, and gives their buffers back.
func (s *Stream) remove(i, j int) {
	if i == j {
		return
	}
	for k := i; k < j; k++ {
		s.discard(&s.pieces[k])
	}
	left := copy(s.pieces[i:], s.pieces[j:])
	clear(s.pieces[i+left:])
	s.pieces = s.pieces[:i+left]
	if len(s.pieces) == 0 {
		s.budget.freePieces(s, s.pieces)
		s.pieces = nil
	}
}

func (s *Stream) discard(p *piece) {
	if p.buf != nil {
		s.budget.freeBuffer(s, p.buf)
		p.buf = nil
	}
}

// extend puts data behind a piece, whose buffer it grows; false where the budget
// has no room. A buffer is left only when it is full, for one twice as large, or
// moved in when half of it is free: so a byte is copied a fixed number of times on
// average.
func (s *Stream) extend(i int, data []byte) bool {
	p := &s.pieces[i]
	size := p.size()
	if need := size + len(data); p.low+need > len(p.buf) {
		switch {
		case need <= len(p.buf) && p.low >= size:
			copy(p.buf, p.bytes())
		default:
			if need <= len(p.buf) {
				need = len(p.buf) + 1
			}
			buf := s.budget.buffer(s, need)
			if buf == nil {
				return false
			}
			copy(buf, p.bytes())
			s.budget.freeBuffer(s, p.buf)
			p.buf = buf
		}
		p.low = 0
	}
	copy(p.buf[p.low+size:], data)
	p.end += uint64(len(data))
	return true
}

// wasRead says whether a piece is only kept to compare.
func (s *Stream) wasRead(i int) bool { return s.pieces[i].end <= min(s.want, s.next) }

// trim gives back what was read and is not kept any more.
func (s *Stream) trim() {
	if len(s.pieces) == 0 {
		return
	}
	floor := s.floor()
	n := 0
	for ; n < len(s.pieces) && s.pieces[n].end <= min(floor, s.next); n++ {
	}
	s.remove(0, n)
	if len(s.pieces) == 0 {
		return
	}
	if p := &s.pieces[0]; p.at < floor && p.buf != nil && p.at < s.next {
		p.low += int(floor - p.at)
		p.at = floor
	}
}

// floor is where what is kept of the consumed begins.
func (s *Stream) floor() uint64 {
	return max(below(s.kept, s.budget.limits.Kept), min(s.acked, s.kept))
}
