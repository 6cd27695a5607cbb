package stream

import "net/netip"

// Limits bound what is held. Those that are 0 are the default's, those beyond what
// is possible are the nearest that is.
type Limits struct {
	// Bytes is the memory of all that is held, in all streams: buffers by their
	// size, however full, and the lists of them. Idle buffers are within it.
	Bytes int
	// Connections that are open at a time.
	Connections int
	// Waiting is the number of bytes of one stream that came and were not read:
	// out of order, or not consumed. At most MaxWaiting.
	Waiting int
	// Pieces is the number of separate pieces of one stream; at most MaxPieces.
	Pieces int
	// Kept is the number of bytes of one stream that are kept after they were
	// consumed, until the receiver acknowledges them: another copy of them, which
	// the receiver may take in their place, is compared. Less than 0 is none: then
	// nothing is copied of what comes in order, and such a copy is Unverified. At
	// most MaxWaiting.
	Kept int
}

// The most that limits of one stream can be.
const (
	MaxWaiting = 1 << 20
	MaxPieces  = 1 << 10
)

// DefaultLimits are 64 MiB for 65,536 connections. Waiting is what a sender has
// under way on an ordinary path, Kept that of inspect.max_bytes.
var DefaultLimits = Limits{Bytes: 64 << 20, Connections: 1 << 16, Waiting: 128 << 10, Pieces: 128, Kept: 12288}

func (l Limits) filled() Limits {
	fill := func(value *int, standard, most int) {
		if *value == 0 {
			*value = standard
		}
		*value = max(min(*value, most), 1)
	}
	none := l.Kept < 0
	fill(&l.Bytes, DefaultLimits.Bytes, 1<<46)
	fill(&l.Connections, DefaultLimits.Connections, 1<<31-1)
	fill(&l.Waiting, DefaultLimits.Waiting, MaxWaiting)
	fill(&l.Pieces, DefaultLimits.Pieces, MaxPieces)
	fill(&l.Kept, DefaultLimits.Kept, MaxWaiting)
	if none {
		l.Kept = 0
	}
	return l
}

// Budget is what all connections share: memory, by the sources they come from, and
// the number of connections. Where there is not enough, the source that has most
// gives, and of its streams the one that has most; who would have most by what it
// asks for, does not get it. So a source that has no more than its share, the limit
// by the number of sources, gets it and keeps it. All costs are logarithmic. Not
// for concurrent use.
//
// A source is an IPv4 address or an IPv6 prefix of 64 bits, of which a single host
// may use all addresses.
type Budget struct {
	// OnEvict, where set, is called with each connection that is evicted, after it
	// was released.
	OnEvict func(*Conversation)
	// OnYield, where set, is called with each connection that gives up bytes which were
	// not read, for another that has less. It must not call anything of the budget.
	OnYield func(*Conversation)

	limits      Limits
	counts      [counterCount]uint64
	used        int // bytes charged
	waiting     int // bytes of payload held and not read
	connections int
	idle        idle
	sources     map[netip.Addr]*source
	byBytes     heap[source]
	byCount     heap[source]
}

// source is what one source has.
type source struct {
	address        netip.Addr
	bytes, count   rank
	streams        heap[Stream]
	oldest, newest *Conversation
}

// NewBudget returns one with the given limits.
func NewBudget(limits Limits) *Budget {
	return &Budget{
		limits:  limits.filled(),
		sources: make(map[netip.Addr]*source),
		byBytes: heap[source]{rank: func(s *source) *rank { return &s.bytes }},
		byCount: heap[source]{rank: func(s *source) *rank { return &s.count }},
	}
}

// Limits are those in force.
func (b *Budget) Limits() Limits { return b.limits }

// Used is the memory that is charged; it never is more than Limits.Bytes.
func (b *Budget) Used() int { return b.used }

// Waiting is the number of bytes that came and were neither read nor given up.
func (b *Budget) Waiting() int { return b.waiting }

// Connections is the number of those that are open.
func (b *Budget) Connections() int { return b.connections }

// reserve charges n bytes to s, if it may have them.
func (b *Budget) reserve(s *Stream, n int) bool {
	for b.used+n > b.limits.Bytes {
		victim := b.greediest(s, n)
		if victim == nil {
			return false
		}
		victim.yield()
	}
	b.charge(s, n)
	return true
}

// greediest is the stream to take from so that s gets n bytes; nil where s itself
// would have most.
func (b *Budget) greediest(s *Stream, n int) *Stream {
	own := s.conversation.source
	if most := b.byBytes.top(); most != nil && most.bytes.weight > own.bytes.weight+n {
		return most.streams.top()
	}
	if most := own.streams.top(); most != nil && most != s && most.charged.weight > s.charged.weight+n {
		return most
	}
	return nil
}

func (b *Budget) charge(s *Stream, n int) {
	b.used += n
	own := s.conversation.source
	own.streams.add(s, n)
	b.byBytes.add(own, n)
}

// SourceOf is what shares are counted by: an IPv4 address, or an IPv6 prefix of 64 bits.
func SourceOf(address netip.Addr) netip.Addr {
	address = address.Unmap()
	if address.Is6() {
		prefix, _ := address.WithZone("").Prefix(64)
		return prefix.Addr()
	}
	return address
}

// join enters c, as the newest of its source. Where there are too many, the oldest
// of the source that has most goes: it has had the longest time to be read.
func (b *Budget) join(c *Conversation, address netip.Addr) {
	address = SourceOf(address)
	if b.connections == b.limits.Connections {
		most := b.byCount.top()
		if own := b.sources[address]; own != nil && own.count.weight+1 >= most.count.weight {
			most = own
		}
		evicted := most.oldest
		evicted.Release()
		b.count(Evicted, 1)
		if b.OnEvict != nil {
			b.OnEvict(evicted)
		}
	}
	own := b.sources[address]
	if own == nil {
		own = &source{address: address, streams: heap[Stream]{rank: func(s *Stream) *rank { return &s.charged }}}
		b.sources[address] = own
	}
	c.source, c.older = own, own.newest
	if own.newest != nil {
		own.newest.newer = c
	} else {
		own.oldest = c
	}
	own.newest = c
	b.byCount.add(own, 1)
	b.connections++
	b.count(Opened, 1)
}

func (b *Budget) leave(c *Conversation) {
	own := c.source
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		own.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		own.newest = c.older
	}
	c.source, c.older, c.newer = nil, nil, nil
	b.byCount.add(own, -1)
	b.connections--
	if own.count.weight == 0 {
		delete(b.sources, own.address)
	}
}
