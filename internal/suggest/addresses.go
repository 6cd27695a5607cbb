package suggest

import (
	"net/netip"
	"slices"
)

// Addresses become a prefix only where it is dense: of IPv4 within a /24, where at
// least half of the prefix and four addresses were seen; of IPv6 a /64, whose hosts
// draw their addresses at random, where four were.
const (
	shortest4 = 24
	shortest6 = 64
	leastSeen = 4
)

// condense makes prefixes of addresses. The result is sorted.
func condense(addresses []netip.Addr) []netip.Prefix {
	addresses = slices.Clone(addresses)
	slices.SortFunc(addresses, netip.Addr.Compare)
	addresses = slices.Compact(addresses)
	var prefixes []netip.Prefix
	for len(addresses) > 0 {
		bits := shortest4
		if addresses[0].Is6() {
			bits = shortest6
		}
		network := netip.PrefixFrom(addresses[0], bits).Masked()
		n := within(addresses, network)
		prefixes = appendDense(prefixes, addresses[:n], network)
		addresses = addresses[n:]
	}
	return prefixes
}

// within is how many of the sorted addresses, from the first on, are in the prefix.
func within(addresses []netip.Addr, p netip.Prefix) int {
	n := 0
	for n < len(addresses) && p.Contains(addresses[n]) {
		n++
	}
	return n
}

// appendDense appends the prefix if it is dense, or what its halves come to.
func appendDense(to []netip.Prefix, addresses []netip.Addr, p netip.Prefix) []netip.Prefix {
	if len(addresses) == 0 {
		return to
	}
	if p.Addr().Is6() {
		if len(addresses) >= leastSeen {
			return append(to, p)
		}
		for _, a := range addresses {
			to = append(to, netip.PrefixFrom(a, 128))
		}
		return to
	}
	size := 1 << (32 - p.Bits())
	if len(addresses) == size {
		return append(to, p)
	}
	lower := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	n := within(addresses, lower)
	// A prefix of which one half is empty is only as good as the other half.
	if len(addresses) >= leastSeen && 2*len(addresses) >= size && n > 0 && n < len(addresses) {
		return append(to, p)
	}
	to = appendDense(to, addresses[:n], lower)
	if n < len(addresses) {
		to = appendDense(to, addresses[n:], netip.PrefixFrom(addresses[n], p.Bits()+1).Masked())
	}
	return to
}

// isWider says whether a prefix has addresses that are none of these.
func isWider(p netip.Prefix, addresses []netip.Addr) bool {
	seen := map[netip.Addr]bool{}
	for _, a := range addresses {
		if p.Contains(a) {
			seen[a] = true
		}
	}
	spare := p.Addr().BitLen() - p.Bits() // 2^spare addresses
	return spare > 32 || uint64(len(seen)) < 1<<spare
}

// text writes a prefix as a policy has it: a single address without its length.
func text(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
