package classifier

import (
	"cmp"
	"encoding/binary"
	"net/netip"
)

// Key is an address as the tries read it, from its highest bit on: IPv4 is in
// the upper half of High.
type Key struct{ High, Low uint64 }

func keyOf(a netip.Addr) Key {
	if a.Is4() {
		b := a.As4()
		return Key{High: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	b := a.As16()
	return Key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (k Key) compare(other Key) int {
	if c := cmp.Compare(k.High, other.High); c != 0 {
		return c
	}
	return cmp.Compare(k.Low, other.Low)
}

// plus adds n << shift. It wraps around.
func (k Key) plus(n uint64, shift int) Key {
	var by Key
	if shift >= 64 {
		by.High = n << (shift - 64)
	} else {
		by = Key{n >> (64 - shift), n << shift}
	}
	sum := Key{k.High + by.High, k.Low + by.Low}
	if sum.Low < k.Low {
		sum.High++
	}
	return sum
}

// after is the first key that follows the prefix, and whether there is one.
func after(p netip.Prefix) (Key, bool) {
	start := keyOf(p.Addr())
	if p.Bits() == 0 {
		return Key{}, false
	}
	next := start.plus(1, 128-p.Bits())
	return next, next != Key{}
}

// hasPrefix says whether the first bits of k are those of prefix.
func (k Key) hasPrefix(prefix Key, bits uint8) bool {
	switch {
	case bits == 0:
		return true
	case bits <= 64:
		return (k.High^prefix.High)>>(64-bits) == 0
	}
	return k.High == prefix.High && (k.Low^prefix.Low)>>(128-bits) == 0
}
