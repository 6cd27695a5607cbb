package classifier

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"github.com/weirnet/weir/internal/policy"
)

// buildAddresses gives each prefix that a criterion names its row: the entries
// that an address satisfies whose longest named prefix it is. Between the named
// prefixes the answer cannot change.
func buildAddresses(b *rowBuilder, criteria []criterion, set func(*criterion) *policy.AddressSet, v6 bool) ([]PrefixRow, error) {
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if v6 {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	boundaries := []netip.Prefix{all}
	for i := range criteria {
		s := set(&criteria[i])
		for _, list := range [][]netip.Prefix{s.Include, s.Exclude} {
			for _, p := range list {
				if p.Addr().Is6() == v6 {
					boundaries = append(boundaries, p.Masked())
				}
			}
		}
	}
	slices.SortFunc(boundaries, comparePrefixes)
	boundaries = slices.Compact(boundaries)
	if need := len(boundaries) * b.width * 8; need > MaxRowBytes {
		return nil, fmt.Errorf("%d distinct prefixes and %d entries need %d MiB, more than %d MiB",
			len(boundaries), len(criteria), need>>20, MaxRowBytes>>20)
	}

	rows := make([]uint64, len(boundaries)*b.width)
	each := func(p netip.Prefix, do func(row []uint64)) {
		first, last := within(boundaries, p)
		for i := first; i < last; i++ {
			do(rows[i*b.width : (i+1)*b.width])
		}
	}
	for i := range criteria {
		s := set(&criteria[i])
		include := s.Include
		if len(include) == 0 {
			include = []netip.Prefix{all}
		}
		for _, p := range include {
			if p.Addr().Is6() == v6 {
				each(p.Masked(), func(row []uint64) { setBit(row, i) })
			}
		}
		for _, p := range s.Exclude {
			if p.Addr().Is6() == v6 {
				each(p.Masked(), func(row []uint64) { clearBit(row, i) })
			}
		}
	}

	out := make([]PrefixRow, len(boundaries))
	for i, p := range boundaries {
		n, err := b.add(rows[i*b.width : (i+1)*b.width])
		if err != nil {
			return nil, err
		}
		out[i] = PrefixRow{Prefix: p, Row: n}
	}
	return out, nil
}

// comparePrefixes orders by address, the shorter prefix first, so that what is
// within a prefix follows it directly.
func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// within returns the range of sorted prefixes that lie in p, itself included;
// p is one of them.
func within(sorted []netip.Prefix, p netip.Prefix) (first, last int) {
	first, _ = slices.BinarySearchFunc(sorted, p, comparePrefixes)
	n := sort.Search(len(sorted)-first, func(i int) bool {
		return !p.Contains(sorted[first+i].Addr())
	})
	return first, first + n
}
