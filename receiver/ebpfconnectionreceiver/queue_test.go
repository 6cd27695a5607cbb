package ebpfconnectionreceiver

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/weirnet/weir/internal/telemetry"
)

func everything(*telemetry.Connection) bool { return true }

func TestQueueKeepsOrderAndBounds(t *testing.T) {
	q := newQueue(100, false)
	batch := make([]entry, 7)
	var next, taken uint64
	// Uneven steps, so that the ring wraps and grows at every offset.
	for round := range 200 {
		records := connections(telemetry.ConnectionStart, round%13)
		for i := range records {
			next++
			records[i].ID = next
		}
		q.put(records, everything)
		length, dropped, _ := q.counts()
		assert.LessOrEqual(t, length, 100)
		assert.Equal(t, next, taken+dropped+uint64(length))
		if length == 0 {
			continue
		}
		last := uint64(0)
		for _, e := range batch[:q.take(batch)] {
			assert.Greater(t, e.connection.ID, last)
			last = e.connection.ID
			taken++
		}
	}
	assert.LessOrEqual(t, len(q.ring), 100)
}

func TestQueueOverflowIsCounted(t *testing.T) {
	q := newQueue(3, false)
	q.put(connections(telemetry.ConnectionStart, 5), everything)
	length, dropped, _ := q.counts()
	assert.Equal(t, 3, length)
	assert.Equal(t, uint64(2), dropped)
}

// TestQueueHasRoomForChanges: of the policy is told also where a flood has filled the queue,
// in its place; but not without a bound.
func TestQueueHasRoomForChanges(t *testing.T) {
	q := newQueue(100, false)
	q.put(connections(telemetry.ConnectionStart, 150), everything)
	for range changesBeyond + 5 {
		q.putChange(telemetry.PolicyChange{})
		q.put(connections(telemetry.ConnectionStart, 1), everything)
	}
	length, dropped, _ := q.counts()
	assert.Equal(t, 100+changesBeyond, length)
	assert.Equal(t, uint64(50+changesBeyond+5+5), dropped)
	batch := make([]entry, 1000)
	for i, e := range batch[:q.take(batch)] {
		assert.Equal(t, i >= 100, e.change != nil, "record %d", i)
	}
}

func TestQueueFilters(t *testing.T) {
	q := newQueue(3, false)
	q.put(connections(telemetry.ConnectionUpdate, 2), func(c *telemetry.Connection) bool { return c.ID == 2 })
	batch := make([]entry, 3)
	assert.Equal(t, 1, q.take(batch))
	assert.Equal(t, uint64(2), batch[0].connection.ID)
}

func TestQueueEnds(t *testing.T) {
	q := newQueue(3, false)
	q.put(connections(telemetry.ConnectionStart, 2), everything)
	q.close()
	q.put(connections(telemetry.ConnectionStart, 1), everything)
	batch := make([]entry, 3)
	assert.Equal(t, 2, q.take(batch), "what waits is still given")
	assert.Zero(t, q.take(batch))
	_, dropped, late := q.counts()
	assert.Zero(t, dropped)
	assert.Equal(t, uint64(1), late)
}

func BenchmarkQueue(b *testing.B) {
	q := newQueue(1<<16, false)
	records := connections(telemetry.ConnectionStart, 64)
	batch := make([]entry, batchSize)
	b.ReportAllocs()
	for b.Loop() {
		q.put(records, everything)
		q.take(batch)
	}
}
