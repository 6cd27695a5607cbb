package engine

import (
	"net/netip"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// What waits is bounded for all connections together: a source that opens many, and has
// each wait, would else have all the memory. Where it is too much, on_error.overload
// answers for the source that has most, until a part is free again.
const (
	maxHeldOfAll = 64 << 20
	// heldOverhead is about what a packet takes beside its bytes.
	heldOverhead = 256
)

// heldShares is what waits, by source.
type heldShares struct {
	all int
	of  map[netip.Addr]int
}

// add counts bytes that wait, or less than 0 that do not any more.
func (s *heldShares) add(source netip.Addr, bytes int) {
	s.all += bytes
	if n := s.of[source] + bytes; n > 0 {
		s.of[source] = n
	} else {
		delete(s.of, source)
	}
}

// greediest is the source that has most.
func (s *heldShares) greediest() (source netip.Addr) {
	most := 0
	for a, n := range s.of {
		if n > most {
			source, most = a, n
		}
	}
	return source
}

// waits notes that a packet of a connection waits, or with a sign of -1 that it does not
// any more.
func (l *look) waits(k *lookedAt, sign int, p *heldPacket) {
	k.hold.bytes += sign * p.packet.Size()
	l.shares.add(k.source, sign*(p.packet.Size()+heldOverhead))
}

// ease answers for connections of whoever has most, while too much waits.
func (l *look) ease(now time.Time) {
	if l.shares.all <= l.mostHeld {
		return
	}
	least := l.mostHeld - l.mostHeld/8
	for l.shares.all > least {
		source, before := l.shares.greediest(), l.shares.all
		for _, k := range l.holding {
			if k.source != source || k.hold.bytes == 0 {
				continue
			}
			l.inspector.GiveUp(k.id, policy.Overload, now)
			l.take()
			l.release(k)
			l.dropWaiting(k)
			if l.shares.all <= least {
				return
			}
		}
		if l.shares.all == before {
			return
		}
	}
}

// dropWaiting drops what still waits of a connection. Its sender has it.
func (l *look) dropWaiting(k *lookedAt) {
	for end := range k.hold.waiting {
		for i := range k.hold.waiting[end] {
			p := &k.hold.waiting[end][i]
			l.waits(k, -1, p)
			l.heldCounts.overLimit++
			l.drop(p.packet)
		}
		k.hold.waiting[end] = nil
	}
	k.hold.since = time.Time{}
}
