package policy

import (
	"hash/maphash"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
)

// prefixLists holds each list of prefixes once, however many rules have it: a
// policy can have a hundred thousand rules over a group of as many prefixes. It
// also lets the classifier see that two sets are one (AddressSet.ID).
type prefixLists struct {
	seed uint64
	// known are the lists. slots are where to find them: at the place that the hash
	// says or behind it; fewer than half are taken. A map takes twice the time, and
	// nearly each rule brings lists of its own.
	known []knownList
	slots []listSlot
	// unions are those that were put together of groups.
	unions map[unionKey][]netip.Prefix
	// cut is where short lists are cut from.
	cut slab[netip.Prefix]
}

// unionKey is what a union was put together of: groups, by name, and a shared list.
type unionKey struct {
	names string
	own   listID
}

// listSlot is the number of a list, from 1, and half of its hash; zero is empty.
type listSlot struct{ tag, number uint32 }

type knownList struct {
	hash     uint64
	prefixes []netip.Prefix
}

// shared is the list with these prefixes, which are sorted and disjoint. It takes
// the slice as it is if it is new and may be kept, and copies it otherwise.
func (l *prefixLists) shared(prefixes []netip.Prefix, keep bool) []netip.Prefix {
	if len(prefixes) == 0 {
		return nil
	}
	if l.slots == nil {
		l.seed = maphash.Comparable(maphash.MakeSeed(), 0)
		l.grow()
		l.shared(everything, true)
	}
	hash := l.hash(prefixes)
	slot := l.slot(hash, prefixes)
	if n := l.slots[slot].number; n > 0 {
		return l.known[n-1].prefixes
	}
	if !keep {
		kept := l.cut.take(len(prefixes))
		copy(kept, prefixes)
		prefixes = kept
	}
	l.known = append(l.known, knownList{hash, prefixes})
	l.slots[slot] = listSlot{uint32(hash >> 32), uint32(len(l.known))}
	if 2*len(l.known) >= len(l.slots) {
		l.grow()
	}
	return prefixes
}

// slot is where the list is, or where it belongs.
func (l *prefixLists) slot(hash uint64, prefixes []netip.Prefix) uint64 {
	mask := uint64(len(l.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := l.slots[i]
		if s.number == 0 || s.tag == uint32(hash>>32) && slices.Equal(l.known[s.number-1].prefixes, prefixes) {
			return i
		}
	}
}

func (l *prefixLists) grow() {
	l.slots = make([]listSlot, max(1024, 4*len(l.slots)))
	mask := uint64(len(l.slots) - 1)
	for n, k := range l.known {
		i := k.hash & mask
		for l.slots[i].number > 0 {
			i = (i + 1) & mask
		}
		l.slots[i] = listSlot{uint32(k.hash >> 32), uint32(n + 1)}
	}
}

// hash mixes what makes up the prefixes by multiplication, as wyhash does.
func (l *prefixLists) hash(prefixes []netip.Prefix) uint64 {
	h := l.seed
	mix := func(n uint64) {
		hi, lo := bits.Mul64(h^n, 0x9e3779b97f4a7c15)
		h = hi ^ lo
	}
	for _, p := range prefixes {
		a := numberOf(p.Addr())
		mix(a.hi)
		mix(a.lo)
		mix(uint64(p.Bits())<<8 | uint64(p.Addr().BitLen()))
	}
	return h
}

// listParts are what a list of addresses is put together from.
type listParts struct {
	// own are the prefixes of the entries that are not groups.
	own    []netip.Prefix
	groups []*addressGroup
	names  []string
}

func (p *listParts) empty() bool { return len(p.own) == 0 && len(p.groups) == 0 }

func (p *listParts) addGroup(name string, g *addressGroup) {
	if g == nil || len(g.prefixes) == 0 || slices.Contains(p.groups, g) {
		return
	}
	p.groups, p.names = append(p.groups, g), append(p.names, name)
}

// smallUnion is up to how many prefixes a union is put together anew each time.
const smallUnion = 64

// joined is the list of all the parts. The prefixes of groups count toward the
// bound where they become part of another list, and not where they are shared.
func (c *cursor) joined(p *listParts) []netip.Prefix {
	l := &c.d.lists
	switch {
	case len(p.groups) == 0:
		return l.shared(disjoint(p.own), false)
	case len(p.own) == 0 && len(p.groups) == 1:
		return p.groups[0].prefixes
	}
	total := len(p.own)
	for _, g := range p.groups {
		total += len(g.prefixes)
	}
	if total <= smallUnion {
		return c.union(p)
	}
	key := unionKey{names: strings.Join(p.names, " ")}
	if len(p.own) > 0 {
		own := l.shared(disjoint(p.own), false)
		key.own = listID{&own[0], len(own)}
	}
	list, known := l.unions[key]
	if !known {
		if l.unions == nil {
			l.unions = map[unionKey][]netip.Prefix{}
		}
		list = c.union(p)
		l.unions[key] = list
	}
	return list
}

func (c *cursor) union(p *listParts) []netip.Prefix {
	for _, g := range p.groups {
		if c.d.prefixes+len(p.own)+len(g.prefixes) > maxPrefixes {
			c.countPrefixes(len(p.own) + len(g.prefixes))
			return nil
		}
		p.own = append(p.own, g.prefixes...)
	}
	before := len(c.d.lists.known)
	list := c.d.lists.shared(disjoint(p.own), false)
	if len(c.d.lists.known) > before {
		c.countPrefixes(len(list))
	}
	return list
}
