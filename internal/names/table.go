package names

import "net/netip"

// insert gives an address a name that it does not have.
func (t *Table) insert(addr netip.Addr, name string, l life) {
	i, ok := t.index[addr]
	if !ok {
		if len(t.index) >= t.limits.Addresses {
			t.giveUp(t.oldest)
		}
		i = t.newEntry(addr)
	}
	t.use(i)
	if e := &t.entries[i]; len(e.names) >= t.limits.Names {
		// One that expired makes room, or else the one that was not answered for
		// longest.
		drop := 0
		for n := range e.lives {
			if e.lives[n].learned < e.lives[drop].learned {
				drop = n
			}
		}
		if e.lives[drop].expires <= l.learned {
			t.counters.Expired++
		} else {
			t.counters.NamesGivenUp++
		}
		t.drop(i, drop)
	}
	e := &t.entries[i]
	names := make([]string, len(e.names)+1) // others may hold the old one
	copy(names, e.names)
	names[len(e.names)] = name
	e.names = names
	e.lives = append(e.lives, l)
	t.bytes += nameBytes + len(name)
	t.changed(Change{addr, name, true})
	t.mend(i)
	for t.bytes > t.limits.Bytes && t.oldest != i {
		t.giveUp(t.oldest)
	}
}

// refresh gives a name a longer life, never a shorter one: somebody may hold the
// answer that promised it.
func (t *Table) refresh(i int32, name int, learned, expires int64) {
	e := &t.entries[i]
	l := &e.lives[name]
	was := l.expires
	l.learned, l.expires = max(l.learned, learned), max(l.expires, expires)
	if was == e.next {
		t.mend(i)
	}
}

// drop takes a name from an entry, whose order in the heap is then to be mended.
func (t *Table) drop(i int32, name int) {
	e := &t.entries[i]
	t.changed(Change{e.addr, e.names[name], false})
	t.bytes -= nameBytes + len(e.names[name])
	names := make([]string, 0, len(e.names)-1)
	e.names = append(append(names, e.names[:name]...), e.names[name+1:]...)
	e.lives = append(e.lives[:name], e.lives[name+1:]...)
}

// giveUp drops an address for want of room.
func (t *Table) giveUp(i int32) {
	t.counters.AddressesGivenUp++
	t.counters.NamesGivenUp += uint64(len(t.entries[i].names))
	t.remove(i)
}

// remove drops an address with its names.
func (t *Table) remove(i int32) {
	e := &t.entries[i]
	for _, name := range e.names {
		t.changed(Change{e.addr, name, false})
		t.bytes -= nameBytes + len(name)
	}
	t.bytes -= addressBytes
	delete(t.index, e.addr)
	t.unlink(i)
	t.heapRemove(e.at)
	*e = entry{}
	t.free = append(t.free, i)
}

func (t *Table) newEntry(addr netip.Addr) (i int32) {
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		t.entries = append(t.entries, entry{})
		i = int32(len(t.entries) - 1)
	}
	t.entries[i] = entry{addr: addr, older: none, newer: none, at: int32(len(t.heap))}
	t.heap = append(t.heap, i)
	t.index[addr] = i
	t.link(i)
	t.bytes += addressBytes
	return i
}

// link makes an entry the one used last.
func (t *Table) link(i int32) {
	e := &t.entries[i]
	e.older, e.newer = t.newest, none
	if t.newest != none {
		t.entries[t.newest].newer = i
	} else {
		t.oldest = i
	}
	t.newest = i
}

func (t *Table) unlink(i int32) {
	e := &t.entries[i]
	if e.older != none {
		t.entries[e.older].newer = e.newer
	} else {
		t.oldest = e.newer
	}
	if e.newer != none {
		t.entries[e.newer].older = e.older
	} else {
		t.newest = e.older
	}
}

func (t *Table) use(i int32) {
	if t.newest != i {
		t.unlink(i)
		t.link(i)
	}
}
