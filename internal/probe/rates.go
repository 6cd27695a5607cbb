package probe

import (
	"container/list"
	"net/netip"
	"time"
)

// maxRates is how many destinations are remembered.
const maxRates = 4096

// rates bounds how often a destination is asked: who makes up names must not have Weir
// do the asking at somebody's expense.
type rates struct {
	burst int
	every time.Duration
	of    map[netip.AddrPort]*list.Element
	order *list.List // of *rate; the front was asked longest ago
}

// rate is that of a destination: full is when it has all of its burst again.
type rate struct {
	of   netip.AddrPort
	full time.Time
}

func newRates(burst int, every time.Duration) *rates {
	return &rates{burst: burst, every: every, of: map[netip.AddrPort]*list.Element{}, order: list.New()}
}

// take says whether a destination may be asked at now, which then counts.
func (r *rates) take(destination netip.AddrPort, now time.Time) bool {
	e := r.of[destination]
	if e == nil {
		if len(r.of) >= maxRates {
			oldest := r.order.Front()
			delete(r.of, r.order.Remove(oldest).(*rate).of)
		}
		e = r.order.PushBack(&rate{of: destination, full: now})
		r.of[destination] = e
	}
	k := e.Value.(*rate)
	next := k.full
	if next.Before(now) {
		next = now
	}
	next = next.Add(r.every)
	if next.Sub(now) > time.Duration(r.burst)*r.every {
		return false
	}
	k.full = next
	r.order.MoveToBack(e)
	return true
}
