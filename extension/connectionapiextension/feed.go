package connectionapiextension

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirnet/weir/internal/profile"
	"github.com/weirnet/weir/internal/telemetry"
)

// feed takes what the engine tells: it goes to the profile, and to the ring for
// subscribers. The engine's reader does no more than copy a batch.
type feed struct {
	profile *profile.Profile
	ring    *ring
	batches chan batch
	// waiting are the records in batches, missed those for which there was no room.
	waiting, missed atomic.Int64
	// subscribers are those that there are; overrun are events that they were too
	// slow for.
	subscribers, overrun atomic.Int64

	quit, done chan struct{}
	begin, end sync.Once
}

// batch is what was told at once.
type batch struct {
	connections []telemetry.Connection
	exchanges   []telemetry.Exchange
	policy      *telemetry.PolicyChange
}

func (b *batch) size() int { return len(b.connections) + len(b.exchanges) }

// Bounds of what waits: batches and the records in them.
const (
	maxBatches = 1024
	maxRecords = 1 << 16
)

func newFeed(buffer int, p *profile.Profile) *feed {
	return &feed{
		profile: p, ring: newRing(buffer), batches: make(chan batch, maxBatches),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
}

func (f *feed) connections(records []telemetry.Connection) {
	if f.hasRoom(len(records)) {
		f.put(batch{connections: slices.Clone(records)})
	}
}

func (f *feed) exchanges(records []telemetry.Exchange) {
	if f.hasRoom(len(records)) {
		f.put(batch{exchanges: slices.Clone(records)})
	}
}

func (f *feed) change(c telemetry.PolicyChange) { f.put(batch{policy: &c}) }

func (f *feed) hasRoom(n int) bool {
	if f.waiting.Load()+int64(n) <= maxRecords {
		return true
	}
	f.missed.Add(int64(n))
	return false
}

func (f *feed) put(b batch) {
	n := int64(b.size())
	f.waiting.Add(n)
	select {
	case f.batches <- b:
	default:
		f.waiting.Add(-n)
		f.missed.Add(max(n, 1))
	}
}

func (f *feed) start() {
	f.begin.Do(func() { go f.run() })
}

// stop ends it, and with it the subscriptions.
func (f *feed) stop() {
	f.end.Do(func() {
		close(f.quit)
		f.begin.Do(func() { close(f.done) }) // it never ran
		<-f.done
	})
}

func (f *feed) run() {
	defer close(f.done)
	told := int64(0)
	for {
		select {
		case <-f.quit:
			return
		case b := <-f.batches:
			f.waiting.Add(-int64(b.size()))
			now := time.Now()
			f.profile.Connections(b.connections, now)
			f.profile.Exchanges(b.exchanges, now)
			missed := f.missed.Load()
			f.ring.publish(&b, uint64(missed-told), now)
			told = missed
		}
	}
}
