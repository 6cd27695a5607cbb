package datapath

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// sameLayout says whether values of a and b mean the same, byte by byte and by
// the names of fields.
func sameLayout(a, b btf.Type) bool {
	a, b = btf.UnderlyingType(a), btf.UnderlyingType(b)
	switch a := a.(type) {
	case *btf.Int:
		b, ok := b.(*btf.Int)
		return ok && a.Size == b.Size && a.Encoding&btf.Signed == b.Encoding&btf.Signed
	case *btf.Array:
		b, ok := b.(*btf.Array)
		return ok && a.Nelems == b.Nelems && sameLayout(a.Type, b.Type)
	case *btf.Struct:
		b, ok := b.(*btf.Struct)
		if !ok || a.Size != b.Size || len(a.Members) != len(b.Members) {
			return false
		}
		for i, m := range a.Members {
			o := b.Members[i]
			if m.Name != o.Name || m.Offset != o.Offset || m.BitfieldSize != o.BitfieldSize || !sameLayout(m.Type, o.Type) {
				return false
			}
		}
		return true
	case *btf.Enum:
		b, ok := b.(*btf.Enum)
		return ok && a.Size == b.Size
	}
	return false // nothing else is in Weir's maps
}

// move copies the bytes of one number, or of several in a row that have the same
// size on both sides.
type move struct {
	from, to, fromSize, toSize uint32
	signed                     bool
}

// translator turns values of one layout into those of another: field by field, by
// name. A field that is gone is dropped and a new one is zero; one that became
// wider keeps its value. One whose type has changed otherwise counts as gone.
type translator struct {
	moves    []move
	fromSize int
	toSize   int
}

var errNotStruct = errors.New("neither a number nor a struct of numbers")

// newTranslator compares two types.
func newTranslator(from, to btf.Type) (*translator, error) {
	fromSize, err := btf.Sizeof(from)
	if err != nil {
		return nil, fmt.Errorf("find the size of the earlier layout: %w", err)
	}
	toSize, err := btf.Sizeof(to)
	if err != nil {
		return nil, fmt.Errorf("find the size of the layout: %w", err)
	}
	t := &translator{fromSize: fromSize, toSize: toSize}
	if !t.match(from, to, 0, 0) {
		return nil, fmt.Errorf("translate %v to %v: %w", from, to, errNotStruct)
	}
	return t, nil
}

// match adds the moves for two values; false where they have nothing in common.
func (t *translator) match(from, to btf.Type, fromAt, toAt uint32) bool {
	from, to = btf.UnderlyingType(from), btf.UnderlyingType(to)
	if size, signed, ok := integer(from); ok {
		toSize, _, ok := integer(to)
		if !ok || toSize < size {
			return false
		}
		t.add(move{fromAt, toAt, size, toSize, signed})
		return true
	}
	switch from := from.(type) {
	case *btf.Array:
		to, ok := to.(*btf.Array)
		if !ok {
			return false
		}
		fromSize, err := btf.Sizeof(from.Type)
		toSize, toErr := btf.Sizeof(to.Type)
		if err != nil || toErr != nil {
			return false
		}
		for i := range min(from.Nelems, to.Nelems) {
			if !t.match(from.Type, to.Type, fromAt+i*uint32(fromSize), toAt+i*uint32(toSize)) {
				return false
			}
		}
		return true
	case *btf.Struct:
		to, ok := to.(*btf.Struct)
		if !ok {
			return false
		}
		for _, m := range from.Members {
			for _, o := range to.Members {
				if m.Name == o.Name && m.Name != "pad" && m.BitfieldSize == 0 && o.BitfieldSize == 0 {
					t.match(m.Type, o.Type, fromAt+m.Offset.Bytes(), toAt+o.Offset.Bytes())
				}
			}
		}
		return true
	}
	return false
}

func integer(t btf.Type) (size uint32, signed, ok bool) {
	switch t := t.(type) {
	case *btf.Int:
		return t.Size, t.Encoding&btf.Signed != 0, true
	case *btf.Enum:
		return t.Size, t.Signed, true
	}
	return 0, false, false
}

// add joins what lies side by side on both sides.
func (t *translator) add(m move) {
	if n := len(t.moves); n > 0 {
		last := &t.moves[n-1]
		if last.fromSize == last.toSize && m.fromSize == m.toSize && last.from+last.fromSize == m.from && last.to+last.toSize == m.to {
			last.fromSize += m.fromSize
			last.toSize += m.toSize
			return
		}
	}
	t.moves = append(t.moves, m)
}

// translate writes the value in the other layout into to, which it overwrites.
// Numbers are in little-endian order, as on all machines that the programs are
// compiled for.
func (t *translator) translate(to, from []byte) {
	clear(to)
	for _, m := range t.moves {
		copy(to[m.to:m.to+m.fromSize], from[m.from:m.from+m.fromSize])
		if m.signed && m.toSize > m.fromSize && from[m.from+m.fromSize-1]&0x80 != 0 {
			for i := m.to + m.fromSize; i < m.to+m.toSize; i++ {
				to[i] = 0xff
			}
		}
	}
}
