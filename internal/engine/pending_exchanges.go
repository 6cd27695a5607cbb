package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/weirnet/weir/internal/telemetry"
)

// pendingExchanges are records of exchanges that wait to be handed over in their place
// among those of connections, which the kernel tells by another way: behind the
// start of their connection, before its end.
type pendingExchanges struct {
	mu sync.Mutex
	// waiting are in the order in which they were complete, those of one connection in
	// the order in which they were found out.
	waiting []telemetry.Exchange
	lost    uint64
}

// maxPendingExchanges bounds those that wait; what comes beyond is lost, and counted.
const maxPendingExchanges = 1 << 16

func (p *pendingExchanges) add(said []telemetry.Exchange) {
	if len(said) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	observed := time.Now()
	for i := range said {
		if len(p.waiting) == maxPendingExchanges {
			p.lost += uint64(len(said) - i)
			return
		}
		// They come nearly in order: copies of packets may pass each other on their way
		// here, and with them the times by which something was complete.
		at := len(p.waiting)
		for at > 0 && completed(&p.waiting[at-1]).After(completed(&said[i])) && p.waiting[at-1].Connection.ID != said[i].Connection.ID {
			at--
		}
		p.waiting = slices.Insert(p.waiting, at, said[i])
		p.waiting[at].Observed = observed
	}
}

// pending says whether there are any that were complete by then.
func (p *pendingExchanges) pending(until time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting) > 0 && !completed(&p.waiting[0]).After(until)
}

// ready is how many were complete by then.
func (p *pendingExchanges) ready(until time.Time) int {
	n := 0
	for n < len(p.waiting) && !completed(&p.waiting[n]).After(until) {
		n++
	}
	return n
}

// hand hands over those that were complete by then.
func (p *pendingExchanges) hand(until time.Time, to func([]telemetry.Exchange)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.ready(until)
	if n == 0 {
		return
	}
	to(p.waiting[:n])
	p.waiting = slices.Delete(p.waiting, 0, n)
}

// handOf hands over those of a connection, whenever they were complete: it is over, by
// a clock that is not theirs.
func (p *pendingExchanges) handOf(id uint64, to func([]telemetry.Exchange)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var of []telemetry.Exchange
	p.waiting = slices.DeleteFunc(p.waiting, func(e telemetry.Exchange) bool {
		if e.Connection.ID != id {
			return false
		}
		of = append(of, e)
		return true
	})
	if len(of) > 0 {
		to(of)
	}
}

// has says of which of the connections any wait.
func (p *pendingExchanges) has(connections []uint64) map[uint64]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 || len(connections) == 0 {
		return nil
	}
	any := map[uint64]bool{}
	for _, id := range connections {
		any[id] = false
	}
	for i := range p.waiting {
		if _, asked := any[p.waiting[i].Connection.ID]; asked {
			any[p.waiting[i].Connection.ID] = true
		}
	}
	return any
}

func completed(e *telemetry.Exchange) time.Time {
	if e.Answered.After(e.Time) {
		return e.Answered
	}
	return e.Time
}

func (p *pendingExchanges) countLost() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}
