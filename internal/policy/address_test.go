package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestRangePrefixes(t *testing.T) {
	tests := map[string]string{
		"0.0.0.0-255.255.255.255":                        "[0.0.0.0/0]",
		"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff":     "[::/0]",
		"10.0.0.1-10.0.0.1":                              "[10.0.0.1/32]",
		"10.0.0.1-10.0.0.4":                              "[10.0.0.1/32 10.0.0.2/31 10.0.0.4/32]",
		"255.255.255.254-255.255.255.255":                "[255.255.255.254/31]",
		"128.0.0.0-255.255.255.255":                      "[128.0.0.0/1]",
		"8000::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": "[8000::/1]",
		"2001:db8::-2001:db8::1:0":                       "[2001:db8::/112 2001:db8::1:0/128]",
		"0.0.0.0-0.0.0.2":                                "[0.0.0.0/31 0.0.0.2/32]",
		"::ffff:10.0.0.0-::ffff:10.0.0.255":              "[10.0.0.0/24]",
	}
	for text, want := range tests {
		prefixes, problem := appendAddresses(nil, text)
		if problem != nil || fmt.Sprint(prefixes) != want {
			t.Errorf("%s is %v, %v; want %s", text, prefixes, problem, want)
		}
	}
}

// Prefixes of a range are adjoining, in order, and its ends are theirs.
func TestRangePrefixesOfAnyRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{4, 16}).Draw(t, "size")
		a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "a"))
		b, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "b"))
		a, b = a.Unmap(), b.Unmap()
		if a.BitLen() != b.BitLen() {
			t.Skip("two families")
		}
		if b.Less(a) {
			a, b = b, a
		}
		prefixes := rangePrefixes(a, b)
		next := a
		for _, p := range prefixes {
			if p.Masked() != p || p.Addr() != next {
				t.Fatalf("%s in %v", p, prefixes)
			}
			next = numberOf(p.Addr()).plus(powerOf(p.Addr().BitLen() - p.Bits())).minus(uint128{lo: 1}).address(a.BitLen())
			if next == b {
				break
			}
			next = next.Next()
		}
		if next != b || len(prefixes) > 2*a.BitLen() {
			t.Fatalf("%s-%s is %v", a, b, prefixes)
		}
	})
}

// A set that is in order answers as one that is not.
func TestContains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var raw []netip.Prefix
		address := func() netip.Addr {
			return netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 3).Draw(t, "third")), byte(rapid.IntRange(0, 255).Draw(t, "fourth"))})
		}
		for range rapid.IntRange(0, 40).Draw(t, "prefixes") {
			p, _ := address().Prefix(rapid.IntRange(20, 32).Draw(t, "bits"))
			raw = append(raw, p)
		}
		ordered := disjoint(slices.Clone(raw))
		for range 20 {
			a := address()
			want := slices.ContainsFunc(raw, func(p netip.Prefix) bool { return p.Contains(a) })
			if covers(ordered, true, a) != want {
				t.Fatalf("%s in %v of %v", a, ordered, raw)
			}
		}
	})
}
