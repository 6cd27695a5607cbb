package classifier

import (
	"net/netip"
	"slices"
	"sort"

	"github.com/weirnet/weir/internal/policy"
)

// home is where an entry is found: by its bit in the rows, or on the addresses
// of one side.
type home uint8

const (
	inRows home = iota
	onSource
	onDestination
)

const (
	// listsFrom is the number of entries up to which all are in the rows: a row
	// is then one chunk, and reading it costs less than a list.
	listsFrom = chunkBits
	// popularBytes is what the rows of prefixes may come to that too many entries
	// name for a list.
	popularBytes = 64 << 20
	// minListed is the number of items of one prefix that a list always takes.
	minListed = 2
	// maxListed bounds the items of one address: bpf/tables.h has six bits.
	maxListed = 60
	// maxSpread bounds the parts that other prefixes divide a prefix into: each
	// has a copy of its items.
	maxSpread = 64
	// maxItems bounds the items of one entry, and the prefixes that they are on.
	maxItems = 16
)

// assignHomes decides for each criterion. Entries for few addresses go where
// these are, if what hangs there remains short.
func assignHomes(criteria []criterion, limit int) []home {
	homes := make([]home, len(criteria))
	if len(criteria) <= limit {
		return homes
	}
	// A list is read item by item. So prefixes that n entries name have a row, as
	// long as the rows fit: there are no more than entries/n of them.
	listed := max(minListed, len(criteria)*len(criteria)/8/popularBytes)
	assignSide(criteria, homes, onSource, listed)
	assignSide(criteria, homes, onDestination, listed)
	return homes
}

// placed is a prefix that a criterion names.
type placed struct {
	prefix    netip.Prefix
	criterion int
	items     int
}

func assignSide(criteria []criterion, homes []home, to home, listed int) {
	all := make([]placed, 0, len(criteria))
	for i := range criteria {
		set, other := criteria[i].sides(to)
		items := criteria[i].itemCount(other)
		if homes[i] != inRows || items > maxItems || len(set.Include) == 0 || len(set.Include) > maxItems || len(set.Exclude) > 0 {
			continue
		}
		homes[i] = to
		for _, p := range set.Include {
			all = append(all, placed{p.Masked(), i, items})
		}
	}
	slices.SortFunc(all, func(a, b placed) int { return comparePrefixes(a.prefix, b.prefix) })
	refuseSpread(all, homes)
	refuseLong(all, homes, listed)
}

// refuseSpread puts those back into the rows whose prefixes hold many others.
func refuseSpread(all []placed, homes []home) {
	distinct := make([]netip.Prefix, len(all))
	for i := range all {
		distinct[i] = all[i].prefix
	}
	distinct = slices.Compact(distinct)
	at := 0
	for _, p := range all {
		for distinct[at] != p.prefix {
			at++
		}
		if at+maxSpread < len(distinct) && p.prefix.Contains(distinct[at+maxSpread].Addr()) {
			homes[p.criterion] = inRows
		}
	}
}

// refuseLong puts those back into the rows that would make a list too long: all
// of a prefix with more than listed items, and of those around a prefix the
// widest first.
func refuseLong(all []placed, homes []home, listed int) {
	var around []placed // the prefixes that hold the current one, the widest first
	for len(all) > 0 {
		prefix := all[0].prefix
		n := sort.Search(len(all), func(i int) bool { return comparePrefixes(all[i].prefix, prefix) > 0 })
		equal := all[:n]
		all = all[n:]
		for len(around) > 0 && !around[len(around)-1].prefix.Contains(prefix.Addr()) {
			around = around[:len(around)-1]
		}
		if itemsOf(equal, homes) > listed {
			for _, p := range equal {
				homes[p.criterion] = inRows
			}
		}
		around = append(around, equal...)
		for i := 0; itemsOf(around[i:], homes) > min(4*listed, maxListed); i++ {
			homes[around[i].criterion] = inRows
		}
		around = slices.DeleteFunc(around, func(p placed) bool { return homes[p.criterion] == inRows })
	}
}

// itemsOf counts the items of those that hang on their prefixes.
func itemsOf(list []placed, homes []home) (n int) {
	for _, p := range list {
		if homes[p.criterion] != inRows {
			n += p.items
		}
	}
	return n
}

// comparePrefixes orders by address, the shorter prefix first, so that what is
// within a prefix follows it directly.
func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// sides are the address set of the home and the other one.
func (c *criterion) sides(to home) (set, other *policy.AddressSet) {
	if to == onSource {
		return &c.rule.Source, &c.rule.Destination
	}
	return &c.rule.Destination, &c.rule.Source
}

// itemCount is the number of items it needs, more than maxItems where it cannot
// have any.
func (c *criterion) itemCount(other *policy.AddressSet) int {
	if len(other.Exclude) > 0 || len(other.Include) > maxItems {
		return maxItems + 1
	}
	return max(1, len(other.Include)) * max(1, len(c.source)) * max(1, len(c.destination)) * max(1, len(c.protocols))
}

// itemsOf are the items of a criterion; other is the side that it does not hang
// on.
func (c *criterion) itemsOf(other *policy.AddressSet, entry, order uint32) []Item {
	items := []Item{{
		Entry: entry, Order: order, AnyProtocol: true, Direction: c.rule.Direction,
		Source: policy.Range{Last: 65535}, Destination: policy.Range{Last: 65535},
	}}
	items = multiply(items, c.protocols, func(i *Item, p uint8) { i.Protocol, i.AnyProtocol = p, false })
	items = multiply(items, c.source, func(i *Item, r policy.Range) { i.Source = r })
	items = multiply(items, c.destination, func(i *Item, r policy.Range) { i.Destination = r })
	return multiply(items, other.Include, func(i *Item, p netip.Prefix) {
		i.Other, i.OtherBits, i.family = keyOf(p.Masked().Addr()), uint8(p.Bits()), familyOf(p)
	})
}

// multiply gives each item every one of the values; without values they stay.
func multiply[V any](items []Item, values []V, set func(*Item, V)) []Item {
	if len(values) == 0 {
		return items
	}
	var all []Item
	for _, item := range items {
		for _, v := range values {
			set(&item, v)
			all = append(all, item)
		}
	}
	return all
}

func familyOf(p netip.Prefix) uint8 {
	if p.Addr().Is6() {
		return 6
	}
	return 4
}

// fits says whether the item can match addresses of the family.
func (i *Item) fits(v6 bool) bool { return i.family == 0 || v6 == (i.family == 6) }
