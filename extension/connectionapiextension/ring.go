package connectionapiextension

import (
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ring has the last events. All subscribers read it, each at its own place, so one
// that is stuck costs nothing, and one that comes back goes on where it was. It is
// filled once somebody has subscribed.
type ring struct {
	// limit bounds the weights together.
	limit int
	// epoch tells the events of this process from those of others.
	epoch string

	mu     sync.RWMutex
	used   bool
	events []*event // circular; those from first to before next are valid
	weight int
	// first and next are numbers of events: of the oldest, and of the one to come.
	first, next uint64
	wake        chan struct{} // closed when there is more; nil if nobody waits
}

func newRing(limit int) *ring {
	return &ring{limit: limit, epoch: strings.ToLower(rand.Text()[:10]), first: 1, next: 1}
}

// publish adds what was told, and before it, how much was missed.
func (r *ring) publish(b *batch, missed uint64, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.used {
		return
	}
	if missed > 0 {
		r.push(&event{lost: missed, time: now})
	}
	for i := range b.connections {
		r.push(&event{connection: &b.connections[i]})
	}
	for i := range b.exchanges {
		r.push(&event{exchange: &b.exchanges[i]})
	}
	if b.policy != nil {
		r.push(&event{policy: b.policy})
	}
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

func (r *ring) push(e *event) {
	w := e.weight()
	for r.weight+w > r.limit && r.first < r.next {
		r.drop()
	}
	if n := uint64(len(r.events)); r.next-r.first == n {
		// It grows up to limit, since nothing weighs less than 1.
		larger := make([]*event, max(2*n, 64))
		for at := r.first; at < r.next; at++ {
			larger[at%uint64(len(larger))] = r.events[at%n]
		}
		r.events = larger
	}
	e.id = r.id(r.next)
	r.events[r.next%uint64(len(r.events))] = e
	r.next++
	r.weight += w
}

func (r *ring) drop() {
	oldest := &r.events[r.first%uint64(len(r.events))]
	r.weight -= (*oldest).weight()
	*oldest = nil
	r.first++
}

func (r *ring) id(number uint64) string { return r.epoch + "." + strconv.FormatUint(number, 10) }

// place is where a subscriber that saw the event last goes on; without one, at the
// next event. lost: events came in between that are not there any more, nobody knows
// how many.
func (r *ring) place(last string) (at uint64, lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = true
	if last == "" {
		return r.next, false
	}
	epoch, number, _ := strings.Cut(last, ".")
	n, err := strconv.ParseUint(number, 10, 64)
	if epoch != r.epoch || err != nil || n >= r.next {
		return r.first, true
	}
	return n + 1, false
}

// read moves events from a place on to batch. lost is how many were gone before that.
// Where there is nothing yet, more is closed once there is.
func (r *ring) read(at uint64, batch []*event) (n int, next, lost uint64, more <-chan struct{}) {
	r.mu.RLock()
	if at < r.first {
		lost, at = r.first-at, r.first
	}
	for n < len(batch) && at < r.next {
		batch[n] = r.events[at%uint64(len(r.events))]
		n++
		at++
	}
	r.mu.RUnlock()
	if n > 0 || lost > 0 {
		return n, at, lost, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at < r.next { // meanwhile
		ready := make(chan struct{})
		close(ready)
		return 0, at, 0, ready
	}
	if r.wake == nil {
		r.wake = make(chan struct{})
	}
	return 0, at, 0, r.wake
}
