package classifier

import (
	"cmp"
	"net/netip"
	"slices"
	"unsafe"

	"github.com/weirnet/weir/internal/policy"
)

// setKey tells address sets apart. Rules that name one group share its prefixes.
type setKey struct {
	include, exclude   *netip.Prefix
	included, excluded int
}

func keyOfSet(s *policy.AddressSet) setKey {
	return setKey{unsafe.SliceData(s.Include), unsafe.SliceData(s.Exclude), len(s.Include), len(s.Exclude)}
}

// side is one side's address sets with the entries that name them.
type side struct {
	always  member // entries for any address
	sets    []*policy.AddressSet
	members []*member
	known   map[setKey]*member
}

func newSide() *side { return &side{known: map[setKey]*member{}} }

func (s *side) member(set *policy.AddressSet) *member {
	if set.IsAny() {
		return &s.always
	}
	key := keyOfSet(set)
	m := s.known[key]
	if m == nil {
		m = &member{}
		s.known[key] = m
		s.sets = append(s.sets, set)
		s.members = append(s.members, m)
	}
	return m
}

// border is where a prefix of a member begins or ends.
type border struct {
	at               Key
	member           int32
	include, exclude int8
}

func (s *side) borders(v6 bool) []border {
	list := make([]border, 0, 2*len(s.sets))
	for i, set := range s.sets {
		for _, p := range set.Include {
			list = appendBorders(list, p, v6, border{member: int32(i), include: 1})
		}
		for _, p := range set.Exclude {
			list = appendBorders(list, p, v6, border{member: int32(i), exclude: 1})
		}
	}
	slices.SortFunc(list, func(a, b border) int { return a.at.compare(b.at) })
	return list
}

func appendBorders(list []border, p netip.Prefix, v6 bool, b border) []border {
	if p.Addr().Is6() != v6 {
		return list
	}
	p = p.Masked()
	b.at = keyOf(p.Addr())
	list = append(list, b)
	if end, ok := after(p); ok {
		list = append(list, border{at: end, member: b.member, include: -b.include, exclude: -b.exclude})
	}
	return list
}

// build makes the trie of one family. lists takes the items.
func (s *side) build(trie *Trie, rows *rowStore, lists *listStore, v6 bool) error {
	for _, m := range s.members {
		m.include, m.exclude, m.active = 0, 0, 0
	}
	lists.start(v6)
	sweep := newSweep(rows, &s.always)
	borders := s.borders(v6)
	intervals := make([]interval, 0, len(borders)+1)
	note := func(at Key) error {
		row, err := sweep.currentRow()
		if err != nil {
			return err
		}
		class := Class{Row: row}
		class.First, class.Count = lists.add(sweep.list, sweep.active)
		if n := len(intervals); n == 0 || intervals[n-1].class != class {
			intervals = append(intervals, interval{at, class})
		}
		return nil
	}
	var at Key
	for len(borders) > 0 {
		if at != borders[0].at {
			if err := note(at); err != nil {
				return err
			}
			at = borders[0].at
		}
		sweep.change(s.members[borders[0].member], int(borders[0].include), int(borders[0].exclude))
		borders = borders[1:]
	}
	if err := note(at); err != nil {
		return err
	}
	trie.build(intervals)
	return nil
}

// listStore holds the lists of items; equal ones are stored once.
type listStore struct {
	items []Item
	known map[identity]uint32
	v6    bool
}

// start forgets the lists of the other family, whose items are others.
func (l *listStore) start(v6 bool) {
	l.known = map[identity]uint32{}
	l.v6 = v6
}

// add returns the list of the members' items in the order of the walk.
func (l *listStore) add(id identity, members []*member) (first, count uint32) {
	if id == (identity{}) {
		return 0, 0
	}
	first, known := l.known[id]
	n := 0
	for _, m := range members {
		for i := range m.items {
			if m.items[i].fits(l.v6) {
				n++
				if !known {
					l.items = append(l.items, m.items[i])
				}
			}
		}
	}
	if known || n == 0 {
		return first, uint32(n)
	}
	first = uint32(len(l.items) - n)
	slices.SortFunc(l.items[first:], func(a, b Item) int { return cmp.Compare(a.Order, b.Order) })
	l.known[id] = first
	return first, uint32(n)
}
