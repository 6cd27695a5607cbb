package ebpfconnectionreceiver

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/collector/consumer/consumererror"
)

// batchSize is the most records that are handed to the next consumer at once.
// Fewer go where fewer wait: there is no delay to fill a batch.
const batchSize = 1024

// lane is the way of the records of one signal to the next consumer. Each
// signal has its own, so that one that is stuck does not hold up the other.
type lane struct {
	signal string
	queue  *queue
	wanted selection
	// send hands a batch to the next consumer; it must not keep it.
	send func(ctx context.Context, batch []entry) error
	// patient: what comes from a capture can wait. Putting into the queue does,
	// and a batch that is refused for now is handed over again.
	patient bool

	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	inFlight int
	// gaveUp is set at the end of the time for shutdown; whatever comes back
	// after that has been counted.
	gaveUp    bool
	delivered uint64
	refused   uint64
	unsent    uint64
}

func newLane(signal string, limit int, patient bool, wanted selection, send func(context.Context, []entry) error) *lane {
	return &lane{signal: signal, queue: newQueue(limit, patient), wanted: wanted, send: send, patient: patient, done: make(chan struct{})}
}

func (l *lane) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go l.run(ctx)
}

func (l *lane) run(ctx context.Context) {
	defer close(l.done)
	batch := make([]entry, batchSize)
	for {
		n := l.queue.take(batch)
		if n == 0 {
			return
		}
		if !l.depart(n) {
			return
		}
		err := l.send(ctx, batch[:n])
		for delay := firstRetry; l.patient && err != nil && !consumererror.IsPermanent(err) && pause(ctx, delay); {
			delay = min(2*delay, lastRetry)
			err = l.send(ctx, batch[:n])
		}
		l.settle(uint64(n), err)
		clear(batch[:n])
	}
}

// The pauses before a refused batch of a capture is handed over again.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
)

// pause waits; false where ctx ends first.
func pause(ctx context.Context, delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// isEmpty says whether nothing waits and nothing is on its way.
func (l *lane) isEmpty() bool {
	taken := l.queue.accepted()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delivered+l.refused+l.unsent >= taken
}

// depart notes that n records are on their way; false if it is too late.
func (l *lane) depart(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gaveUp {
		l.unsent += uint64(n)
		return false
	}
	l.inFlight = n
	return true
}

// settle counts a batch that came back. A refused one is not tried again:
// exporters have queues and retries of their own, and what waits here would
// only get older.
func (l *lane) settle(n uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight = 0
	switch {
	case l.gaveUp:
	case err != nil:
		l.refused += n
	default:
		l.delivered += n
	}
}

// stop drains the queue until ctx ends, then gives up on the rest and returns their
// number. Nothing is handed on any more then, unless the next consumer does not
// listen to its context.
func (l *lane) stop(ctx context.Context) int {
	l.queue.close()
	select {
	case <-l.done:
		l.cancel()
		return 0
	case <-ctx.Done():
	}
	l.mu.Lock()
	l.gaveUp = true
	lost := l.inFlight + l.queue.clear()
	l.unsent += uint64(lost)
	l.mu.Unlock()
	l.cancel()
	// The next consumer is shut down as soon as this returns, and may not stand a call
	// after that.
	select {
	case <-l.done:
	case <-time.After(lastCall):
	}
	return lost
}

// lastCall is how long a call to the next consumer that was told to end is waited for.
const lastCall = time.Second

// laneCounts are what became of the records of a lane.
type laneCounts struct {
	waiting                               int
	delivered, queueFull, refused, unsent uint64
}

func (l *lane) counts() laneCounts {
	waiting, dropped, late := l.queue.counts()
	l.mu.Lock()
	defer l.mu.Unlock()
	return laneCounts{waiting: waiting, delivered: l.delivered, queueFull: dropped, refused: l.refused, unsent: l.unsent + late}
}
