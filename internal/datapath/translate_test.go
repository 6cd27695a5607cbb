package datapath

import (
	"encoding/hex"
	"testing"

	"github.com/cilium/ebpf/btf"
)

var (
	u8  = &btf.Int{Name: "unsigned char", Size: 1}
	u16 = &btf.Int{Name: "unsigned short", Size: 2}
	u32 = &btf.Int{Name: "unsigned int", Size: 4}
	s16 = &btf.Int{Name: "short", Size: 2, Encoding: btf.Signed}
	s32 = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
)

func array(of btf.Type, n uint32) btf.Type { return &btf.Array{Index: u32, Type: of, Nelems: n} }

// record is a struct of members without gaps: name, type, name, type.
func record(members ...any) btf.Type {
	s := &btf.Struct{Name: "record"}
	for i := 0; i < len(members); i += 2 {
		t := members[i+1].(btf.Type)
		size, err := btf.Sizeof(t)
		if err != nil {
			panic(err)
		}
		s.Members = append(s.Members, btf.Member{Name: members[i].(string), Type: t, Offset: btf.Bits(s.Size * 8)})
		s.Size += uint32(size)
	}
	return s
}

func TestTranslate(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to btf.Type
		value    string
		want     string
		same     bool
	}{
		{"the same", record("a", u32, "b", u16), record("a", u32, "b", u16), "010203040506", "010203040506", true},
		{"a new field before", record("a", u32), record("n", u32, "a", u32), "01020304", "0000000001020304", false},
		{"a field that is gone", record("g", u16, "a", u32), record("a", u32), "ffff01020304", "01020304", false},
		{"changed places, same size", record("a", u16, "b", u16), record("b", u16, "a", u16), "01020304", "03040102", false},
		{"renamed", record("a", u16), record("b", u16), "0102", "0000", false},
		{"wider", record("a", u16, "b", u8), record("a", u32, "b", u32), "fffe07", "fffe000007000000", false},
		{"wider, below zero", record("a", s16), record("a", s32), "feff", "feffffff", false},
		{"wider, signed but positive", record("a", s16), record("a", s32), "fe7f", "fe7f0000", false},
		{"narrower counts as gone", record("a", u32, "b", u8), record("a", u16, "b", u8), "0102030405", "000005", false},
		{"a longer array", record("a", array(u16, 2)), record("a", array(u16, 3)), "01020304", "010203040000", false},
		{"a shorter array", record("a", array(u16, 3)), record("a", array(u16, 2)), "010203040506", "01020304", false},
		{"an array of wider ones", record("a", array(u8, 2)), record("a", array(u16, 2)), "0102", "01000200", false},
		{"a number that became an array", record("a", u16), record("a", array(u16, 2)), "0102", "00000000", false},
		{"structs in structs", record("x", record("a", u16, "b", u16)), record("x", record("b", u16, "c", u16)), "01020304", "03040000", false},
		{"padding is not a field", record("a", u8, "pad", u8), record("pad", u8, "a", u8), "01ff", "0001", false},
		{"a bare number", u16, u32, "0102", "01020000", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := sameLayout(c.from, c.to); got != c.same {
				t.Errorf("same layout: %t", got)
			}
			tr, err := newTranslator(c.from, c.to)
			if err != nil {
				t.Fatal(err)
			}
			from, err := hex.DecodeString(c.value)
			if err != nil {
				t.Fatal(err)
			}
			to := make([]byte, tr.toSize)
			for i := range to {
				to[i] = 0xee // what was there must go
			}
			tr.translate(to, from)
			if got := hex.EncodeToString(to); got != c.want {
				t.Errorf("%s became %s, want %s", c.value, got, c.want)
			}
		})
	}
}

func TestTranslateRefuses(t *testing.T) {
	for name, c := range map[string][2]btf.Type{
		"a narrower number":         {u32, u16},
		"a number that is a struct": {u32, record("a", u32)},
		"a pointer":                 {&btf.Pointer{Target: u32}, u32},
	} {
		if tr, err := newTranslator(c[0], c[1]); err == nil {
			t.Errorf("%s: %v", name, tr.moves)
		}
	}
}

func TestReindex(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to []uint32
		index    uint32
		want     uint32
		ok       bool
	}{
		{"the same", []uint32{2, 3}, []uint32{2, 3}, 5, 5, true},
		{"the inner one grew", []uint32{2, 3}, []uint32{2, 4}, 5, 6, true},
		{"the outer one grew", []uint32{2, 3}, []uint32{4, 3}, 5, 5, true},
		{"all grew", []uint32{2, 2, 2}, []uint32{3, 3, 3}, 7, 1*9 + 1*3 + 1, true},
		{"one shrank, within", []uint32{2, 3}, []uint32{2, 2}, 4, 3, true},
		{"one shrank, beyond", []uint32{2, 3}, []uint32{2, 2}, 5, 0, false},
		{"another number of them", []uint32{6}, []uint32{2, 3}, 1, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := reindex(c.from, c.to)(c.index)
			if got != c.want || ok != c.ok {
				t.Errorf("got %d, %t, want %d, %t", got, ok, c.want, c.ok)
			}
		})
	}
	if got := dimensionsOf(nested(4, 5, 6)); len(got) != 3 || got[0] != 4 || got[2] != 6 {
		t.Errorf("dimensions %v", got)
	}
}
