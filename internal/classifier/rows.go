package classifier

import (
	"fmt"
	"math/rand/v2"
)

// identity is the exclusive or of the identities of what a set has: equal sets
// have equal ones, and others have not, but with odds of 2^-128.
type identity [2]uint64

func newIdentity() identity { return identity{rand.Uint64(), rand.Uint64()} }

func (id *identity) toggle(other identity) {
	id[0] ^= other[0]
	id[1] ^= other[1]
}

// rowStore holds rows; equal ones are stored once.
type rowStore struct {
	width int // words in a row
	words []uint64
	known map[identity]uint32
	bits  []identity // of each bit
}

func newRowStore(bits int) *rowStore {
	chunks := max(1, (bits+chunkBits-1)/chunkBits)
	s := &rowStore{width: chunks * RowWords, known: map[identity]uint32{}, bits: make([]identity, bits)}
	for i := range s.bits {
		s.bits[i] = newIdentity()
	}
	s.words = make([]uint64, s.width)
	s.known[identity{}] = 0
	return s
}

// add returns the number of the row with that identity, which fill sets the
// bits of if it is new.
func (s *rowStore) add(id identity, fill func(row []uint64)) (uint32, error) {
	if n, ok := s.known[id]; ok {
		return n, nil
	}
	n := len(s.words) / s.width
	if (n+1)*s.width*8 > MaxBytes {
		return 0, fmt.Errorf("the tables need more than %d MiB: %d rows of %d bytes, a bit for each of %d entries, are full; fewer rules that name many addresses or ports, or one group for those used together, would fit",
			MaxBytes>>20, n, s.width*8, len(s.bits))
	}
	s.words = append(s.words, make([]uint64, s.width)...)
	fill(s.words[n*s.width:])
	s.known[id] = uint32(n)
	return uint32(n), nil
}

func setBit(row []uint64, i uint32) { row[i/64] |= 1 << (i % 64) }

func (s *rowStore) summaries() []Summary {
	list := make([]Summary, len(s.words)/s.width)
	for n := range list {
		for i, word := range s.words[n*s.width : (n+1)*s.width] {
			if word != 0 {
				list[n].Words[i/RowWords] |= 1 << (i % RowWords)
				list[n].Chunks |= 1 << (i / RowWords)
			}
		}
	}
	return list
}
