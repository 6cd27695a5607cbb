package ebpfconnectionreceiver

import (
	"sync"

	"github.com/weirnet/weir/internal/telemetry"
)

// entry is what waits in a queue: a record about a connection or, where change
// is set, about the policy.
type entry struct {
	connection telemetry.Connection
	change     *telemetry.PolicyChange
}

// queue holds what waits for the next consumer, oldest first. put never blocks:
// what does not fit is dropped and counted, since the engine's reader must keep up
// with the kernel. putAll waits, for a capture.
type queue struct {
	limit int
	// ready has a token where a sleeping taker has something to do.
	ready chan struct{}
	// room wakes putAll where something was taken.
	room *sync.Cond

	mu     sync.Mutex
	ring   []entry // grows up to limit
	head   int     // index of the oldest
	length int
	closed bool
	// dropped counts what did not fit, late what came after close, pushed what did
	// fit.
	dropped, late, pushed uint64
}

func newQueue(limit int) *queue {
	q := &queue{limit: limit, ready: make(chan struct{}, 1)}
	q.room = sync.NewCond(&q.mu)
	return q
}

// put appends those of the records that are wanted. It copies them.
func (q *queue) put(records []telemetry.Connection, wanted func(*telemetry.Connection) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range records {
		if wanted(&records[i]) {
			q.push(entry{connection: records[i]})
		}
	}
	q.wake()
}

// putAll appends those of the records that are wanted, and waits for room, until
// the queue is closed. It copies them.
func (q *queue) putAll(records []telemetry.Connection, wanted func(*telemetry.Connection) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range records {
		if !wanted(&records[i]) {
			continue
		}
		for q.length == q.limit && !q.closed {
			q.wake()
			q.room.Wait()
		}
		q.push(entry{connection: records[i]})
	}
	q.wake()
}

// putChange appends a record about the policy.
func (q *queue) putChange(change telemetry.PolicyChange) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.push(entry{change: &change})
	q.wake()
}

func (q *queue) push(e entry) {
	if q.closed {
		q.late++
		return
	}
	if q.length == q.limit {
		q.dropped++
		return
	}
	if q.length == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.length)%len(q.ring)] = e
	q.length++
	q.pushed++
}

func (q *queue) grow() {
	larger := make([]entry, min(max(2*len(q.ring), 64), q.limit))
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

// take waits for something and moves what is there, as far as it fits, to
// batch. It gives nothing once the queue is closed and empty.
func (q *queue) take(batch []entry) int {
	for {
		q.mu.Lock()
		n := min(q.length, len(batch))
		for i := range n {
			batch[i] = q.ring[q.head]
			q.ring[q.head] = entry{}
			q.head = (q.head + 1) % len(q.ring)
		}
		q.length -= n
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
	q.ring, q.head, q.length, q.closed = nil, 0, 0, true
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
