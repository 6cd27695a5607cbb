package policy

// slab hands out memory in slices cut from larger pieces. What is taken after a
// mark can be taken back, and is then handed out again: the values of one rule
// need not outlive it, and a policy may have a hundred thousand rules.
type slab[T any] struct {
	pieces [][]T
	mark   slabMark
}

// slabMark is a place in a slab: a piece, and how much of it is taken.
type slabMark struct{ piece, used int }

// slabPiece is how many values a piece has at least.
const slabPiece = 512

// take cuts n values, whose content is undefined, and with no room behind them.
func (s *slab[T]) take(n int) []T {
	for s.mark.piece < len(s.pieces) {
		piece := s.pieces[s.mark.piece]
		if from := s.mark.used; from+n <= len(piece) {
			s.mark.used += n
			return piece[from : from+n : from+n]
		}
		s.mark = slabMark{piece: s.mark.piece + 1}
	}
	s.pieces = append(s.pieces, make([]T, max(n, slabPiece)))
	s.mark.used = n
	return s.pieces[s.mark.piece][:n:n]
}

// release takes back all that was taken since the mark.
func (s *slab[T]) release(to slabMark) { s.mark = to }
