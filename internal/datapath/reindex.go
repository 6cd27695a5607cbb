package datapath

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// dimensionsOf are those of nested arrays, outermost first.
func dimensionsOf(t btf.Type) (list []uint32) {
	for {
		a, ok := t.(*btf.Array)
		if !ok {
			return list
		}
		list = append(list, a.Nelems)
		t = a.Type
	}
}

// reindex turns the index of a counter that was numbered by some dimensions into
// its index by others. A counter has none where a dimension has become smaller, or
// where there is another number of them. The numbers in each dimension stay: new
// ones are only ever added at the end.
func reindex(from, to []uint32) func(uint32) (uint32, bool) {
	return func(index uint32) (uint32, bool) {
		if len(from) != len(to) {
			return 0, false
		}
		var next, stride uint32 = 0, 1
		for i := len(from) - 1; i >= 0; i-- {
			at := index % from[i]
			if at >= to[i] {
				return 0, false
			}
			index /= from[i]
			next += at * stride
			stride *= to[i]
		}
		return next, true
	}
}

func le16(b []byte) uint16       { return binary.LittleEndian.Uint16(b) }
func putLE16(b []byte, n uint16) { binary.LittleEndian.PutUint16(b, n) }
func le32(b []byte) uint32       { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64       { return binary.LittleEndian.Uint64(b) }
func putLE64(b []byte, n uint64) { binary.LittleEndian.PutUint64(b, n) }

// bytesOf is the memory of a value without pointers.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// isFull says that a map has no room: a hash table says the one, its allocator the
// other.
func isFull(err error) bool { return errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOMEM) }
