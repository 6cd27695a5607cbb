package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unsafe"
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

// AddressSetID tells sets apart by where their prefixes are kept; it can be a key
// of a map. Of a policy that Load read, two sets are equal if and only if their IDs
// are; sets made by hand may be equal under several IDs.
type AddressSetID struct{ include, exclude listID }

// listID is the first of some prefixes, and their number.
type listID struct {
	first  *netip.Prefix
	length int
}

// ID is the identity of the set.
func (s *AddressSet) ID() AddressSetID {
	id := func(list []netip.Prefix) listID { return listID{unsafe.SliceData(list), len(list)} }
	return AddressSetID{id(s.Include), id(s.Exclude)}
}

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

// appendAddresses reads an address, a prefix or a range, and appends its prefixes.
func appendAddresses(list []netip.Prefix, s string) ([]netip.Prefix, *addressProblem) {
	if first, last, isRange := strings.Cut(s, "-"); isRange {
		return appendRange(list, s, first, last)
	}
	text, length, isPrefix := strings.Cut(s, "/")
	a, problem := parseAddress(text)
	if problem != nil {
		return list, problem
	}
	written := a
	if a.Is4In6() {
		a = a.Unmap()
	}
	if !isPrefix {
		return append(list, netip.PrefixFrom(a, a.BitLen())), nil
	}
	n, ok := number(length, uint16(written.BitLen()))
	if !ok {
		return list, &addressProblem{found: quote(s) + " has a prefix length out of range", hint: "lengths go to 32 for IPv4, to 128 for IPv6"}
	}
	bits := int(n) - (written.BitLen() - a.BitLen())
	if bits < 0 {
		return list, &addressProblem{found: quote(s) + " is wider than the IPv4 addresses it maps", hint: "write it as an IPv4 prefix"}
	}
	p := netip.PrefixFrom(a, bits)
	if p.Masked() != p {
		return list, &addressProblem{found: quote(s) + " has bits set beyond its prefix length", hint: "did you mean " + p.Masked().String() + "?"}
	}
	return append(list, p), nil
}

// parseAddress reads one address. One that is mapped into IPv6 stands for the IPv4
// address, since on the wire it is nothing else; the callers unmap it.
func parseAddress(s string) (netip.Addr, *addressProblem) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, &addressProblem{found: quote(s) + " is not an address"}
	}
	if a.Zone() != "" {
		return a, &addressProblem{found: quote(s) + " has a zone", hint: "leave out %" + a.Zone()}
	}
	return a, nil
}

func appendRange(list []netip.Prefix, s, first, last string) ([]netip.Prefix, *addressProblem) {
	from, problem := parseAddress(first)
	if problem != nil {
		return list, problem
	}
	to, problem := parseAddress(last)
	if problem != nil {
		return list, problem
	}
	from, to = from.Unmap(), to.Unmap()
	switch {
	case from.BitLen() != to.BitLen():
		return list, &addressProblem{found: quote(s) + " goes from one address family to the other"}
	case to.Less(from):
		return list, &addressProblem{found: quote(s) + " ends before it begins", hint: "did you mean " + to.String() + "-" + from.String() + "?"}
	}
	return append(list, rangePrefixes(from, to)...), nil
}

// disjoint sorts prefixes and leaves out those that lie in another.
func disjoint(prefixes []netip.Prefix) []netip.Prefix {
	if len(prefixes) < 2 {
		return prefixes
	}
	order := func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	}
	if !slices.IsSortedFunc(prefixes, order) {
		slices.SortFunc(prefixes, order)
	}
	kept := prefixes[:1]
	for _, p := range prefixes[1:] {
		if !kept[len(kept)-1].Contains(p.Addr()) {
			kept = append(kept, p)
		}
	}
	return kept
}
