package dns

import (
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// Exchange is a query and what became of it.
type Exchange struct {
	// Tuple is the query's packet: Source asked.
	Tuple    packet.Tuple
	Protocol Protocol
	ID       uint16
	Opcode   uint8
	Type     uint16
	Class    uint16
	// Asked is the time of the query, the first of them where it was repeated.
	Asked time.Time
	// Repeats is how often it was sent again.
	Repeats int
	// Cookie is the caller's.
	Cookie uint64

	name   [maxName]byte // as it was sent, without compression
	length uint8
	hash   uint64
	// prev and next are indexes of entries, older and younger.
	prev, next int32
}

// Name is the name that was asked for. It is valid as long as e is.
func (e *Exchange) Name() Name {
	return Name{msg: e.name[:e.length]}
}

// key is what an answer has to share with its query.
type key struct {
	tuple       packet.Tuple
	id          uint16
	kind, class uint16
	opcode      uint8
	hash        uint64 // of the folded name
}

// Table pairs answers with their queries: by both ends, the identifier and the
// question. It is bounded in number and in time. Not for concurrent use.
type Table struct {
	// Counters say what became of queries and answers.
	Counters Counters

	byKey          map[key]int32
	entries        []Exchange
	free           []int32
	oldest, newest int32
	maximum        int
	timeout        time.Duration
	seed           maphash.Seed
	removed        Exchange // the last one
}

// Counters count queries and answers. Every query that Asked counts becomes one
// of Answered, Unanswered and GivenUp, or is still open.
type Counters struct {
	Asked      uint64
	Repeated   uint64 // sent again before it was answered
	Answered   uint64
	Unanswered uint64 // no answer within the time
	GivenUp    uint64 // for want of room
	Unasked    uint64 // answers to no query that is open
	Unpaired   uint64 // messages that cannot be paired: no question, or several
}

const none = -1

// NewTable makes a table of at most maximum queries (1 at least) that wait for
// their answer no longer than the timeout.
func NewTable(maximum int, timeout time.Duration) *Table {
	return &Table{
		byKey: map[key]int32{}, oldest: none, newest: none,
		maximum: max(1, maximum), timeout: timeout, seed: maphash.MakeSeed(),
	}
}

// Len is the number of open queries.
func (t *Table) Len() int { return len(t.byKey) }

// keyOf is the key of a message with one question; buffer holds 255 bytes.
func (t *Table) keyOf(tuple packet.Tuple, m *Message, buffer []byte) (key, []byte, bool) {
	if m.Counts[0] != 1 || len(m.Questions) != 1 {
		return key{}, nil, false
	}
	q := &m.Questions[0]
	name := q.Name.appendWire(buffer[:0])
	var folded [maxName]byte
	for i, b := range name {
		folded[i] = lower(b) // lengths are below the letters
	}
	return key{
		tuple: tuple, id: m.ID, kind: q.Type, class: q.Class, opcode: m.Opcode,
		hash: maphash.Bytes(t.seed, folded[:len(name)]),
	}, name, true
}

// anyServer is the tuple of a query to a group: whoever of it answers does so
// from an address of its own.
func anyServer(tuple packet.Tuple) packet.Tuple {
	if tuple.Destination.IsMulticast() {
		tuple.Destination = netip.Addr{}
	}
	return tuple
}

// Ask notes a query. The tuple is that of its packet. Where there is no room the
// oldest is given up: it is returned, valid until the next call.
func (t *Table) Ask(tuple packet.Tuple, m *Message, cookie uint64, now time.Time) (given *Exchange) {
	var buffer [maxName]byte
	k, name, ok := t.keyOf(anyServer(tuple), m, buffer[:])
	if !ok {
		t.Counters.Unpaired++
		return nil
	}
	if i, open := t.byKey[k]; open && t.entries[i].is(name) {
		t.entries[i].Repeats++
		t.Counters.Repeated++
		return nil
	} else if open { // names of one hash: the later one counts
		t.Counters.GivenUp++
		given = t.remove(i) // makes room
	}
	if len(t.byKey) >= t.maximum {
		t.Counters.GivenUp++
		given = t.remove(t.oldest)
	}
	i := t.take()
	e := &t.entries[i]
	*e = Exchange{
		Tuple: tuple, Protocol: m.Protocol, ID: m.ID, Opcode: m.Opcode, Type: k.kind, Class: k.class,
		Asked: now, Cookie: cookie, length: uint8(len(name)), hash: k.hash, prev: t.newest, next: none,
	}
	copy(e.name[:], name)
	if t.newest != none {
		t.entries[t.newest].next = i
	} else {
		t.oldest = i
	}
	t.newest = i
	t.byKey[k] = i
	t.Counters.Asked++
	return given
}

// Answer finds the query of an answer, and closes it; nil: no open query has its
// ends, identifier and question. The tuple is that of the answer's packet. What it
// returns is valid until the next call.
func (t *Table) Answer(tuple packet.Tuple, m *Message) *Exchange {
	var buffer [maxName]byte
	k, name, ok := t.keyOf(tuple.Reversed(), m, buffer[:])
	if !ok {
		t.Counters.Unpaired++
		return nil
	}
	i, open := t.byKey[k]
	if !open && m.Protocol != DNS {
		k.tuple.Destination = netip.Addr{}
		i, open = t.byKey[k]
	}
	if !open || !t.entries[i].is(name) {
		t.Counters.Unasked++
		return nil
	}
	t.Counters.Answered++
	return t.remove(i)
}

// Expire takes a query out that has waited too long, the oldest first; nil: there
// is none. Call it again until then. What it returns is valid until the next call.
func (t *Table) Expire(now time.Time) *Exchange {
	if t.oldest == none || now.Sub(t.entries[t.oldest].Asked) < t.timeout {
		return nil
	}
	t.Counters.Unanswered++
	return t.remove(t.oldest)
}

func (e *Exchange) is(name []byte) bool {
	return Name{msg: e.name[:e.length]}.Equal(Name{msg: name})
}

// take finds room for an entry.
func (t *Table) take() int32 {
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		return i
	}
	t.entries = append(t.entries, Exchange{})
	return int32(len(t.entries) - 1)
}

// remove frees an entry and keeps a copy of it.
func (t *Table) remove(i int32) *Exchange {
	e := &t.entries[i]
	k := key{tuple: anyServer(e.Tuple), id: e.ID, kind: e.Type, class: e.Class, opcode: e.Opcode, hash: e.hash}
	delete(t.byKey, k)
	if e.prev != none {
		t.entries[e.prev].next = e.next
	} else {
		t.oldest = e.next
	}
	if e.next != none {
		t.entries[e.next].prev = e.prev
	} else {
		t.newest = e.prev
	}
	t.free = append(t.free, i)
	t.removed = *e
	return &t.removed
}
