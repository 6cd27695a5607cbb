package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

const acceptedAddress = "an address, a prefix 192.0.2.0/24, a range 192.0.2.1-192.0.2.9, group:NAME"

// everything are the prefixes of all addresses.
var everything = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// Contains says whether the set has the address. An IPv4 address in IPv6 form
// counts as IPv4.
func (s *AddressSet) Contains(a netip.Addr) bool {
	if s.IsAny() {
		return true
	}
	a = a.Unmap()
	return covers(s.Include, s.sorted, a) && !covers(s.Exclude, s.sorted, a)
}

// IsAny says whether the set is the zero value, which has every address.
func (s *AddressSet) IsAny() bool { return len(s.Include) == 0 && len(s.Exclude) == 0 }

// covers says whether one of the prefixes has the address. Sorted ones are
// disjoint, so only the last that begins at or before the address can.
func covers(prefixes []netip.Prefix, sorted bool, a netip.Addr) bool {
	if sorted && len(prefixes) > 8 {
		i, found := slices.BinarySearchFunc(prefixes, a, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
		if found {
			return true
		}
		return i > 0 && prefixes[i-1].Contains(a)
	}
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// countPrefixes adds to the prefixes of the policy and says whether there may be
// so many; what goes beyond is told once.
func (c *cursor) countPrefixes(n int) bool {
	before := c.d.prefixes
	c.d.prefixes += n
	if c.d.prefixes <= maxPrefixes {
		return true
	}
	if before <= maxPrefixes {
		c.fail(fmt.Sprintf("the addresses of this policy come to more than %d prefixes", maxPrefixes), "", "make one group of those that are used together")
	}
	return false
}

// addressProblem is what is wrong with an address entry.
type addressProblem struct{ found, hint string }

// parseAddresses reads an address, a prefix or a range.
func parseAddresses(s string) ([]netip.Prefix, *addressProblem) {
	if first, last, isRange := strings.Cut(s, "-"); isRange {
		return parseAddressRange(s, first, last)
	}
	text, _, isPrefix := strings.Cut(s, "/")
	a, problem := parseAddress(text)
	if problem != nil {
		return nil, problem
	}
	if !isPrefix {
		return []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, &addressProblem{found: quote(s) + " has a prefix length out of range", hint: "lengths go to 32 for IPv4, to 128 for IPv6"}
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return nil, &addressProblem{found: quote(s) + " is wider than the IPv4 addresses it maps", hint: "write it as an IPv4 prefix"}
		}
		p = netip.PrefixFrom(a, p.Bits()-96)
	}
	if p.Masked() != p {
		return nil, &addressProblem{found: quote(s) + " has bits set beyond its prefix length", hint: "did you mean " + p.Masked().String() + "?"}
	}
	return []netip.Prefix{p}, nil
}

// parseAddress reads one address; one mapped into IPv6 is the IPv4 address that
// it stands for, since on the wire it is nothing else.
func parseAddress(s string) (netip.Addr, *addressProblem) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, &addressProblem{found: quote(s) + " is not an address"}
	}
	if a.Zone() != "" {
		return a, &addressProblem{found: quote(s) + " has a zone", hint: "leave out %" + a.Zone()}
	}
	return a.Unmap(), nil
}

func parseAddressRange(s, first, last string) ([]netip.Prefix, *addressProblem) {
	from, problem := parseAddress(first)
	if problem != nil {
		return nil, problem
	}
	to, problem := parseAddress(last)
	if problem != nil {
		return nil, problem
	}
	switch {
	case from.BitLen() != to.BitLen():
		return nil, &addressProblem{found: quote(s) + " goes from one address family to the other"}
	case to.Less(from):
		return nil, &addressProblem{found: quote(s) + " ends before it begins", hint: "did you mean " + to.String() + "-" + from.String() + "?"}
	}
	return rangePrefixes(from, to), nil
}

// disjoint sorts prefixes and leaves out those that lie in another.
func disjoint(prefixes []netip.Prefix) []netip.Prefix {
	if len(prefixes) < 2 {
		return prefixes
	}
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	kept := prefixes[:1]
	for _, p := range prefixes[1:] {
		if !kept[len(kept)-1].Contains(p.Addr()) {
			kept = append(kept, p)
		}
	}
	return kept
}
