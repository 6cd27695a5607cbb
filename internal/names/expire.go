package names

import (
	"math"
	"time"
)

// Expire drops every name whose time is over, so that the change feed tells of it.
// What is not due costs nothing.
func (t *Table) Expire(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expireAll(now)
}

func (t *Table) expireAll(now time.Time) {
	at := now.UnixMilli()
	for len(t.heap) > 0 && t.entries[t.heap[0]].next <= at {
		t.expire(t.heap[0], at)
	}
}

// Next is when Expire will have something to do; false: never, as things are.
func (t *Table) Next() (at time.Time, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.heap) == 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(t.entries[t.heap[0]].next), true
}

// expire drops an entry's names whose time is over; false: there are no others.
func (t *Table) expire(i int32, at int64) bool {
	e := &t.entries[i]
	kept, names := e.lives[:0], []string(nil)
	for n, l := range e.lives {
		if l.expires > at {
			kept, names = append(kept, l), append(names, e.names[n])
			continue
		}
		t.changed(Change{e.addr, e.names[n], false})
		t.bytes -= nameBytes + len(e.names[n])
		t.counters.Expired++
	}
	e.lives, e.names = kept, names
	if len(names) == 0 {
		t.remove(i)
		return false
	}
	t.mend(i)
	return true
}

// mend works out when the first name of an entry expires, and its place in the
// heap.
func (t *Table) mend(i int32) {
	e := &t.entries[i]
	e.next = math.MaxInt64
	for _, l := range e.lives {
		e.next = min(e.next, l.expires)
	}
	t.down(t.up(int(e.at)))
}

// The heap is a binary one; it is not container/heap's since entries know their
// place, and an interface would allocate.

func (t *Table) before(a, b int) bool {
	return t.entries[t.heap[a]].next < t.entries[t.heap[b]].next
}

func (t *Table) swap(a, b int) {
	t.heap[a], t.heap[b] = t.heap[b], t.heap[a]
	t.entries[t.heap[a]].at, t.entries[t.heap[b]].at = int32(a), int32(b)
}

func (t *Table) up(at int) int {
	for at > 0 && t.before(at, (at-1)/2) {
		t.swap(at, (at-1)/2)
		at = (at - 1) / 2
	}
	return at
}

func (t *Table) down(at int) {
	for {
		first := at
		for child := 2*at + 1; child <= 2*at+2 && child < len(t.heap); child++ {
			if t.before(child, first) {
				first = child
			}
		}
		if first == at {
			return
		}
		t.swap(at, first)
		at = first
	}
}

func (t *Table) heapRemove(at int32) {
	last := len(t.heap) - 1
	t.swap(int(at), last)
	t.heap = t.heap[:last]
	if int(at) < last {
		t.down(t.up(int(at)))
	}
}
