package policy

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// rangePrefixes are the fewest prefixes that make up a range: at each step the
// widest one that begins at from and does not go beyond to.
func rangePrefixes(from, to netip.Addr) []netip.Prefix {
	var prefixes []netip.Prefix
	width := from.BitLen()
	at, end := numberOf(from), numberOf(to)
	for {
		// Of 2^free addresses the first must be a multiple, and the last not beyond.
		free := min(at.trailingZeros(), end.minus(at).plus(uint128{lo: 1}).length()-1, width)
		if end.minus(at).plus(uint128{lo: 1}) == (uint128{}) {
			free = width
		}
		prefixes = append(prefixes, netip.PrefixFrom(at.address(width), width-free))
		next := at.plus(powerOf(free))
		if next == end.plus(uint128{lo: 1}) {
			return prefixes
		}
		at = next
	}
}

// uint128 is an address as a number.
type uint128 struct{ hi, lo uint64 }

func numberOf(a netip.Addr) uint128 {
	if a.Is4() {
		b := a.As4()
		return uint128{lo: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return uint128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (u uint128) address(width int) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], u.hi)
	binary.BigEndian.PutUint64(b[8:], u.lo)
	if width == 32 {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.AddrFrom16(b)
}

func (u uint128) plus(o uint128) uint128 {
	lo, carry := bits.Add64(u.lo, o.lo, 0)
	hi, _ := bits.Add64(u.hi, o.hi, carry)
	return uint128{hi, lo}
}

func (u uint128) minus(o uint128) uint128 {
	lo, borrow := bits.Sub64(u.lo, o.lo, 0)
	hi, _ := bits.Sub64(u.hi, o.hi, borrow)
	return uint128{hi, lo}
}

// length is the number of bits that it takes.
func (u uint128) length() int {
	if u.hi != 0 {
		return 64 + bits.Len64(u.hi)
	}
	return bits.Len64(u.lo)
}

func (u uint128) trailingZeros() int {
	if u.lo != 0 {
		return bits.TrailingZeros64(u.lo)
	}
	return 64 + bits.TrailingZeros64(u.hi)
}

// powerOf is 2^n; that of 128 wraps to 0, as the end of such a range does.
func powerOf(n int) uint128 {
	if n >= 64 {
		return uint128{hi: 1 << (n - 64)}
	}
	return uint128{lo: 1 << n}
}
