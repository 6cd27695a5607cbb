package classifier

import (
	"fmt"
	"slices"
)

// rowBuilder collects rows and stores equal ones once.
type rowBuilder struct {
	width int // words in a row
	words []uint64
	known map[uint64][]uint32 // row numbers by hash
}

func newRowBuilder(width int) *rowBuilder {
	b := &rowBuilder{width: width, known: map[uint64][]uint32{}}
	b.add(make([]uint64, width)) // row 0
	return b
}

// add returns the number of the row.
func (b *rowBuilder) add(row []uint64) (uint32, error) {
	var hash uint64
	for _, w := range row {
		hash = (hash ^ w) * 0x9e3779b97f4a7c15 // Fibonacci hashing; equal rows are compared below
		hash ^= hash >> 29
	}
	for _, n := range b.known[hash] {
		if slices.Equal(row, b.words[int(n)*b.width:int(n+1)*b.width]) {
			return n, nil
		}
	}
	if (len(b.words)+b.width)*8 > MaxRowBytes {
		return 0, fmt.Errorf("the tables need more than %d MiB: %d rows of %d bytes are full; fewer rules or fewer distinct prefixes fit",
			MaxRowBytes>>20, len(b.words)/b.width, b.width*8)
	}
	n := uint32(len(b.words) / b.width)
	b.words = append(b.words, row...)
	b.known[hash] = append(b.known[hash], n)
	return n, nil
}

func setBit(row []uint64, i int)   { row[i/64] |= 1 << (i % 64) }
func clearBit(row []uint64, i int) { row[i/64] &^= 1 << (i % 64) }
