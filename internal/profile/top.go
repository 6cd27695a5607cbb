package profile

// top keeps the keys with the greatest weights of a stream in bounded memory: Space
// Saving (Metwally, Agrawal, El Abbadi, ICDT 2005). A key whose weight is more than
// the whole stream's divided by the capacity is among them for sure; a weight may be
// too great by the entry's error, and never too small.
type top struct {
	entries map[Key]*counter
	order   []*counter // a heap, the least weight first
}

type counter struct {
	key           Key
	place         int // in order
	weight, error uint64
	counts        Counts
}

func (t *top) add(key *Key, weight uint64, c *Counts) {
	one := t.entries[*key]
	switch {
	case one != nil:
	case weight == 0:
		return
	case len(t.order) < capacity:
		if t.entries == nil {
			t.entries = map[Key]*counter{}
		}
		one = &counter{key: *key, place: len(t.order)}
		t.order = append(t.order, one)
		t.entries[*key] = one
		t.rise(one) // its weight is 0
	default:
		// The least gives way, and what it had may have been the newcomer's.
		one = t.order[0]
		delete(t.entries, one.key)
		*one = counter{key: *key, weight: one.weight, error: one.weight}
		t.entries[*key] = one
	}
	one.weight += weight
	one.counts.add(c)
	t.sink(one)
}

// rise moves one up to where it belongs in the heap.
func (t *top) rise(one *counter) {
	for one.place > 0 {
		above := t.order[(one.place-1)/2]
		if above.weight <= one.weight {
			return
		}
		t.swap(above, one)
	}
}

// sink moves one down to where it belongs in the heap.
func (t *top) sink(one *counter) {
	for {
		below := 2*one.place + 1
		if below >= len(t.order) {
			return
		}
		least := t.order[below]
		if below+1 < len(t.order) && t.order[below+1].weight < least.weight {
			least = t.order[below+1]
		}
		if one.weight <= least.weight {
			return
		}
		t.swap(one, least)
	}
}

func (t *top) swap(a, b *counter) {
	a.place, b.place = b.place, a.place
	t.order[a.place], t.order[b.place] = a, b
}
