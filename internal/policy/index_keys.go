package policy

import (
	"net/netip"
	"strings"
)

// keyed are rules by keys of one criterion: a rule that has any can be true of facts
// with one of them only. The keys may be coarser than the criterion.
type keyed[K comparable] struct {
	first  map[K]int32 // in links
	links  []link
	rows   map[K]row // of keys that so many rules have that links would be larger
	others row       // rules without keys
}

// link is a rule with a key, and where the next one is; -1: there is none.
type link struct{ rule, next int32 }

// mostKeys is how many a rule has at most. One with more is tried.
const mostKeys = 64

func (k *keyed[K]) init(rules int) { k.first, k.others = map[K]int32{}, newRow(rules) }

// add adds a rule under its keys; nil: it has none, and may always be true.
func (k *keyed[K]) add(rule int, keys []K) {
	if keys == nil {
		k.others.set(rule)
	}
	for _, key := range keys {
		next, found := k.first[key]
		if !found {
			next = -1
		}
		k.first[key] = int32(len(k.links))
		k.links = append(k.links, link{int32(rule), next})
	}
}

// finish makes rows of long chains of links. There is nothing to add after it.
func (k *keyed[K]) finish() {
	k.rows = map[K]row{}
	for key, at := range k.first {
		n := 0
		for ; at >= 0 && n <= len(k.others); at = k.links[at].next {
			n++
		}
		if n > len(k.others) {
			r := make(row, len(k.others))
			k.mark(r, key)
			k.rows[key] = r
		}
	}
}

func (k *keyed[K]) mark(r row, key K) {
	if all, found := k.rows[key]; found {
		r.or(all)
		return
	}
	at, found := k.first[key]
	for found && at >= 0 {
		r.set(int(k.links[at].rule))
		at = k.links[at].next
	}
}

// narrow leaves of the candidates those without keys, and those that marks marks in
// the scratch row.
func (k *keyed[K]) narrow(x *Index, marks func()) {
	if len(k.first) == 0 {
		return
	}
	copy(x.scratch, k.others)
	marks()
	x.candidates.and(x.scratch)
}

// portKey is a protocol with a destination port, or with any.
type portKey struct {
	protocol uint8
	port     uint16
	any      bool
}

func portKeys(alternatives []Transport) (keys []portKey) {
	for i := range alternatives {
		t := &alternatives[i]
		ports := 0
		for _, r := range t.Destination {
			ports += int(r.Last-r.First) + 1
		}
		if ports == 0 || ports > mostKeys || t.Protocol != protocolTCP && t.Protocol != protocolUDP {
			keys = append(keys, portKey{protocol: t.Protocol, any: true})
			continue
		}
		for _, r := range t.Destination {
			for port := int(r.First); port <= int(r.Last); port++ {
				keys = append(keys, portKey{t.Protocol, uint16(port), false})
			}
		}
	}
	return keys
}

// addressKeys are rules by prefixes of addresses, of the lengths below.
type addressKeys struct{ keyed[netip.Prefix] }

var keyLengths = [2][]int{{32, 24, 16, 8}, {128, 64, 48, 32, 16}}

func lengthsFor(a netip.Addr) []int {
	if a.Is4() {
		return keyLengths[0]
	}
	return keyLengths[1]
}

func (k *addressKeys) addSet(rule int, s *AddressSet) {
	if s.IsAny() || len(s.Include) == 0 || len(s.Include) > mostKeys {
		k.others.set(rule)
		return
	}
	keys := make([]netip.Prefix, 0, len(s.Include))
	for _, p := range s.Include {
		length := 0
		for _, n := range lengthsFor(p.Addr()) {
			if n <= p.Bits() {
				length = n
				break
			}
		}
		if length == 0 {
			k.others.set(rule)
			return
		}
		keys = append(keys, netip.PrefixFrom(p.Addr(), length).Masked())
	}
	k.add(rule, keys)
}

func (k *addressKeys) narrowTo(x *Index, a netip.Addr) {
	a = a.Unmap().WithZone("")
	k.narrow(x, func() {
		for _, n := range lengthsFor(a) {
			if p, err := a.Prefix(n); err == nil {
				k.mark(x.scratch, p)
			}
		}
	})
}

// nameKeys are rules by names, each of which is also a key of those that end in it. A
// long list is looked up for all the rules that have it.
type nameKeys struct {
	keyed[string]
	lists map[*nameList][]int
}

func (k *nameKeys) addSet(rule int, s *NameSet) {
	if s == nil || s.rest {
		k.others.set(rule)
		return
	}
	keys := []string{}
	for _, l := range s.include {
		switch {
		case len(l.globs) > 0:
			k.others.set(rule)
			return
		case len(l.ways) > mostKeys:
			if k.lists == nil {
				k.lists = map[*nameList][]int{}
			}
			k.lists[l] = append(k.lists[l], rule)
		default:
			for name := range l.ways {
				keys = append(keys, name)
			}
		}
	}
	k.add(rule, keys)
}

func (k *nameKeys) narrowTo(x *Index, names ...string) {
	if len(k.first) == 0 && len(k.lists) == 0 {
		return
	}
	copy(x.scratch, k.others)
	for _, name := range names {
		name = normalName(name)
		for l, rules := range k.lists {
			if l.has(name) {
				for _, rule := range rules {
					x.scratch.set(rule)
				}
			}
		}
		for more := true; more; _, name, more = strings.Cut(name, ".") {
			k.mark(x.scratch, name)
		}
	}
	x.candidates.and(x.scratch)
}

// pathKeys are rules by whole paths, and by the first segments of paths.
type pathKeys struct{ keyed[pathKey] }

type pathKey struct {
	text  string
	exact bool
}

// mostSegments is how many of a path are looked up.
const mostSegments = 8

func (k *pathKeys) addSet(rule int, s *PathSet) {
	if s == nil || len(s.exact)+len(s.patterns) > mostKeys {
		k.others.set(rule)
		return
	}
	keys := []pathKey{}
	for path := range s.exact {
		keys = append(keys, pathKey{path, true})
	}
	for _, p := range s.patterns {
		first := firstSegments(p.segments)
		if first == "" {
			k.others.set(rule)
			return
		}
		keys = append(keys, pathKey{first, false})
	}
	k.add(rule, keys)
}

func (k *pathKeys) narrowTo(x *Index, path string) {
	k.narrow(x, func() {
		k.mark(x.scratch, pathKey{path, true})
		for n, i := 0, 1; i <= len(path) && n < mostSegments; i++ {
			if i == len(path) || path[i] == '/' {
				k.mark(x.scratch, pathKey{path[:i], false})
				n++
			}
		}
	})
}

// firstSegments cuts a path that begins with a slash.
func firstSegments(path string) string {
	n := 0
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			if n++; n == mostSegments {
				return path[:i]
			}
		}
	}
	return path
}
