// Package names knows which names DNS has answered an address for. It learns from
// answers of the configured resolvers only, to queries that were seen, and of those
// only what belongs to the question. It is pure: no goroutines, no clock but the
// times that are passed in, and its state goes wherever the caller's reader and
// writer do.
package names

import (
	"math"
	"net/netip"
	"sync"
	"time"
)

// MinLife is how long a name lives at least: programs go on using an address
// after its TTL.
const MinLife = 5 * time.Minute

// MaxChain is the number of names that a chain of aliases may have behind the
// question.
const MaxChain = 16

// Limits bound a Table. Zero fields stand for the defaults.
type Limits struct {
	// Addresses is the number of addresses: 65536.
	Addresses int
	// Names is the number of names of one address: 64. Addresses of content networks
	// have thousands. At most 65535.
	Names int
	// Bytes is about what names and addresses occupy: 32 MiB.
	Bytes int
	// Changes is the number of changes that are remembered: 16384.
	Changes int
}

func (l Limits) orDefaults() Limits {
	or := func(n, otherwise int) int {
		if n > 0 {
			return n
		}
		return otherwise
	}
	return Limits{
		Addresses: or(l.Addresses, 1<<16), Names: min(or(l.Names, 64), math.MaxUint16),
		Bytes: or(l.Bytes, 32<<20), Changes: or(l.Changes, 1<<14),
	}
}

// What an entry occupies beside its text, in bytes: structs, map, heap.
const (
	addressBytes = 200
	nameBytes    = 40
)

// Counters say what became of what was offered. None is ever set back.
type Counters struct {
	Learned   uint64 // names of addresses that were not known
	Refreshed uint64 // that were

	NotResolver    uint64 // answers of other servers
	NotAsked       uint64 // answers to no query, or to another
	Failed         uint64 // answers that report an error
	OutOfBailiwick uint64 // records that do not belong to the question
	OtherType      uint64 // addresses of a type that was not asked for
	LongChain      uint64 // aliases beyond MaxChain
	Unusable       uint64 // addresses that nobody connects to, names that are no text
	Omitted        uint64 // records for which an Answer has no room

	Expired          uint64 // names whose time was over
	AddressesGivenUp uint64 // for want of room, the least recently used first
	NamesGivenUp     uint64 // with them, or because their address had too many
}

// Change is a name that an address got or lost.
type Change struct {
	Addr netip.Addr
	Name string
	Got  bool
}

// entry is an address.
type entry struct {
	addr netip.Addr
	// names is never written to: who was given it may keep it.
	names []string
	lives []life // of the names, in their order
	next  int64  // when the first of them expires
	at    int32  // in the heap
	// older and newer are neighbours in the order of use.
	older, newer int32
}

// life is in milliseconds since 1970.
type life struct{ learned, expires int64 }

// Table is from addresses to names. It is safe for concurrent use.
type Table struct {
	limits Limits

	mu             sync.Mutex // guards the rest
	counters       Counters
	resolvers      map[netip.AddrPort]struct{}
	anyServer      bool
	index          map[netip.Addr]int32
	entries        []entry
	free           []int32
	heap           []int32 // of entries, by next
	oldest, newest int32   // in the order of use
	bytes          int
	changes        []Change // the ring of the last ones
	generation     uint64   // the number of changes ever
}

const none = -1

// NewTable makes an empty table, which learns nothing until it knows resolvers.
func NewTable(l Limits) *Table {
	return &Table{limits: l.orDefaults(), index: map[netip.Addr]int32{}, oldest: none, newest: none}
}

// SetResolvers says whose answers are believed from now on. Without any, nothing is
// learned.
func (t *Table) SetResolvers(resolvers []netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.anyServer = false
	t.resolvers = make(map[netip.AddrPort]struct{}, len(resolvers))
	for _, r := range resolvers {
		t.resolvers[netip.AddrPortFrom(normal(r.Addr()), r.Port())] = struct{}{}
	}
}

// BelieveAnyone takes every server at port 53 for a resolver. It is for recordings,
// of which nobody knows which resolvers the hosts had.
func (t *Table) BelieveAnyone() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.anyServer = true
}

// normal is the form in which packets bear an address.
func normal(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Counters are what became of answers and names so far.
func (t *Table) Counters() Counters {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counters
}

// Len is the number of addresses.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.index)
}

// Bytes is about what they and their names occupy.
func (t *Table) Bytes() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes
}

// Lookup returns the names of an address, in lower case and without a last dot.
// The slice is the caller's to keep, not to write to.
func (t *Table) Lookup(addr netip.Addr, now time.Time) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := t.index[normal(addr)]
	if !ok {
		return nil
	}
	if at := now.UnixMilli(); t.entries[i].next <= at && !t.expire(i, at) {
		return nil
	}
	t.use(i)
	return t.entries[i].names
}

// Each calls f for every address until it returns false, without counting as use:
// the least recently used first. f must not call the table's other methods.
func (t *Table) Each(f func(addr netip.Addr, names []string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := t.oldest; i != none; i = t.entries[i].newer {
		if !f(t.entries[i].addr, t.entries[i].names) {
			return
		}
	}
}
