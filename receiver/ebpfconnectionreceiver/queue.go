package ebpfconnectionreceiver

import (
	"sync"

	"github.com/weirnet/weir/internal/telemetry"
)

// entry is what waits in a queue: a record about a connection or, where one of the
// others is set, about the policy or an exchange.
type entry struct {
	connection telemetry.Connection
	change     *telemetry.PolicyChange
	exchange   *telemetry.Exchange
}

// weight is how many records e counts as. Strangers choose the length of what they
// say, and a queue is not to hold more for it.
func (e *entry) weight() int {
	if e.exchange == nil {
		return 1
	}
	return 3 + e.exchange.Size()/256
}

// queue holds what waits for the next consumer, oldest first. What does not fit is
// dropped and counted, since the engine's reader must keep up with the kernel; a
// patient queue has it wait instead, for a capture.
type queue struct {
	limit   int // of the weights together, but for changesBeyond
	patient bool
	// ready has a token where a sleeping taker has something to do.
	ready chan struct{}
	// room wakes who waits where something was taken.
	room *sync.Cond

	mu     sync.Mutex
	ring   []entry // grows up to the limits
	head   int     // index of the oldest
	length int
	weight int // of what is there
	closed bool
	// dropped counts what did not fit, late what came after close, pushed what did
	// fit.
	dropped, late, pushed uint64
}

// changesBeyond is for how many records about the policy there is room where a flood of
// connections has taken all: they are few, and who is asked to confirm one must hear of it.
const changesBeyond = 64

func newQueue(limit int, patient bool) *queue {
	q := &queue{limit: limit, patient: patient, ready: make(chan struct{}, 1)}
	q.room = sync.NewCond(&q.mu)
	return q
}

// put appends those of the records that are wanted. It copies them.
func (q *queue) put(records []telemetry.Connection, wanted func(*telemetry.Connection) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range records {
		if wanted(&records[i]) {
			q.push(entry{connection: records[i]}, q.patient)
		}
	}
	q.wake()
}

// putExchanges appends those of the records that are wanted. It copies them, but
// not what they point to.
func (q *queue) putExchanges(records []telemetry.Exchange, wanted func(*telemetry.Exchange) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range records {
		if wanted(&records[i]) {
			exchange := records[i]
			q.push(entry{exchange: &exchange}, q.patient)
		}
	}
	q.wake()
}

// putChange appends a record about the policy. It never waits: a policy is put in
// force meanwhile.
func (q *queue) putChange(change telemetry.PolicyChange) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.push(entry{change: &change}, false)
	q.wake()
}

// push appends an entry; with wait, once there is room or the queue is closed.
func (q *queue) push(e entry, wait bool) {
	weight := e.weight()
	limit := q.limit
	if e.change != nil {
		limit += changesBeyond
	}
	for wait && !q.closed && !q.fits(weight, limit) {
		q.wake()
		q.room.Wait()
	}
	if q.closed {
		q.late++
		return
	}
	if !q.fits(weight, limit) {
		q.dropped++
		return
	}
	if q.length == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.length)%len(q.ring)] = e
	q.length++
	q.weight += weight
	q.pushed++
}

// fits says whether there is room within a limit. One entry always has it.
func (q *queue) fits(weight, limit int) bool { return q.length == 0 || q.weight+weight <= limit }

func (q *queue) grow() {
	most := q.limit
	if len(q.ring) >= q.limit {
		most += changesBeyond
	}
	larger := make([]entry, min(max(2*len(q.ring), 64), most))
	n := copy(larger, q.ring[q.head:])
	copy(larger[n:], q.ring[:q.head])
	q.ring, q.head = larger, 0
}

func (q *queue) wake() {
	if q.length == 0 && !q.closed {
		return
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// batchWeight is how much take gives at most: messages have limits (gRPC: 4 MiB).
const batchWeight = 4 * batchSize

// take waits for something and moves what is there, as far as it fits, to
// batch. It gives nothing once the queue is closed and empty.
func (q *queue) take(batch []entry) int {
	for {
		q.mu.Lock()
		n, weight := 0, 0
		for n < min(q.length, len(batch)) {
			oldest := &q.ring[(q.head+n)%len(q.ring)]
			w := oldest.weight()
			if n > 0 && weight+w > batchWeight {
				break
			}
			batch[n], *oldest = *oldest, entry{}
			weight += w
			n++
		}
		if n > 0 {
			q.head = (q.head + n) % len(q.ring)
		}
		q.length -= n
		q.weight -= weight
		q.wake()
		q.room.Broadcast()
		closed := q.closed
		q.mu.Unlock()
		if n > 0 || closed {
			return n
		}
		<-q.ready
	}
}

// close lets take end once the queue is empty; what is put later is dropped.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake()
	q.room.Broadcast()
}

// clear closes the queue and throws away what waits; it gives the number.
func (q *queue) clear() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.length
	q.ring, q.head, q.length, q.weight, q.closed = nil, 0, 0, 0, true
	q.wake()
	q.room.Broadcast()
	return n
}

// counts gives the number of records that wait, of those that did not fit, and
// of those that came after close.
func (q *queue) counts() (length int, dropped, late uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.length, q.dropped, q.late
}

// accepted is the number of records that ever fitted in.
func (q *queue) accepted() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pushed
}
