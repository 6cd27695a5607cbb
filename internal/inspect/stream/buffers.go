package stream

import (
	"math/bits"
	"unsafe"
)

// Buffers have sizes of powers of two. The largest has room for MaxWaiting bytes
// in a buffer that is at least a quarter full (Stream.extend).
const (
	leastBits   = 6
	mostBits    = 22
	bufferSizes = mostBits - leastBits + 1

	leastPieces = 4
	pieceSizes  = 10 // up to leastPieces << (pieceSizes-1)
	pieceBytes  = int(unsafe.Sizeof(piece{}))

	// mostIdle are the idle buffers of a size, so that the list of them is small.
	mostIdle = 1024
)

// idle are buffers that nobody uses, for the next that wants one of their size.
type idle struct {
	bytes   int
	buffers [bufferSizes][][]byte
	pieces  [pieceSizes][][]piece
}

// bufferSize is the index of the least size that n bytes fit in.
func bufferSize(n int) int { return max(bits.Len(uint(n-1)), leastBits) - leastBits }

func pieceSize(n int) int { return max(bits.Len(uint(n-1)), 2) - 2 }

// buffer returns one for n bytes, charged to s; nil where s may have no more.
func (b *Budget) buffer(s *Stream, n int) []byte {
	size := bufferSize(n)
	bytes := 1 << (size + leastBits)
	if !b.reserve(s, bytes) {
		return nil
	}
	if free := b.idle.buffers[size]; len(free) > 0 {
		buf := free[len(free)-1]
		b.idle.buffers[size] = free[:len(free)-1]
		b.idle.bytes -= bytes
		return buf
	}
	b.shrink()
	return make([]byte, bytes)
}

func (b *Budget) freeBuffer(s *Stream, buf []byte) {
	b.charge(s, -len(buf))
	size := bufferSize(len(buf))
	if len(b.idle.buffers[size]) < mostIdle {
		b.idle.buffers[size] = append(b.idle.buffers[size], buf)
		b.idle.bytes += len(buf)
	}
}

// pieces returns an empty list with room for n, charged to s; nil where s may have
// no more.
func (b *Budget) pieces(s *Stream, n int) []piece {
	size := pieceSize(n)
	bytes := leastPieces << size * pieceBytes
	if !b.reserve(s, bytes) {
		return nil
	}
	if free := b.idle.pieces[size]; len(free) > 0 {
		list := free[len(free)-1]
		b.idle.pieces[size] = free[:len(free)-1]
		b.idle.bytes -= bytes
		return list
	}
	b.shrink()
	return make([]piece, 0, leastPieces<<size)
}

func (b *Budget) freePieces(s *Stream, list []piece) {
	if cap(list) == 0 {
		return
	}
	b.charge(s, -cap(list)*pieceBytes)
	clear(list[:cap(list)])
	size := pieceSize(cap(list))
	if len(b.idle.pieces[size]) < mostIdle {
		b.idle.pieces[size] = append(b.idle.pieces[size], list[:0])
		b.idle.bytes += cap(list) * pieceBytes
	}
}

// shrink leaves idle buffers to the garbage collector, the largest first, until
// they fit in what is not used.
func (b *Budget) shrink() {
	for size := bufferSizes - 1; size >= 0 && b.used+b.idle.bytes > b.limits.Bytes; size-- {
		free := &b.idle.buffers[size]
		for ; len(*free) > 0 && b.used+b.idle.bytes > b.limits.Bytes; *free = (*free)[:len(*free)-1] {
			(*free)[len(*free)-1] = nil
			b.idle.bytes -= 1 << (size + leastBits)
		}
	}
	for size := pieceSizes - 1; size >= 0 && b.used+b.idle.bytes > b.limits.Bytes; size-- {
		free := &b.idle.pieces[size]
		for ; len(*free) > 0 && b.used+b.idle.bytes > b.limits.Bytes; *free = (*free)[:len(*free)-1] {
			(*free)[len(*free)-1] = nil
			b.idle.bytes -= leastPieces << size * pieceBytes
		}
	}
}
