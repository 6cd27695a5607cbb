package ebpfconnectionreceiver

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/weirnet/weir/internal/telemetry"
)

func TestRefusedEventsAreCounted(t *testing.T) {
	for name, err := range map[string]error{"temporary": errors.New("full"), "permanent": consumererror.NewPermanent(errors.New("bad"))} {
		t.Run(name, func(t *testing.T) {
			r, engine := newTestReceiver(t, nil)
			r.logs = consumertest.NewErr(err)
			require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
			engine.sink(connections(telemetry.ConnectionStart, 5))
			l := r.logLane
			eventually(t, func() bool { return l.counts().refused == 5 }, "refused events are counted")
			require.NoError(t, r.Shutdown(context.Background()))
			assert.Equal(t, laneCounts{refused: 5}, l.counts())
		})
	}
}

// stuckLogs is a consumer that does not come back until it is released.
type stuckLogs struct {
	consumertest.Consumer
	entered, release chan struct{}
	heed             bool // give up when the context ends
}

func newStuckLogs(heed bool) *stuckLogs {
	return &stuckLogs{Consumer: consumertest.NewNop(), entered: make(chan struct{}, 100), release: make(chan struct{}), heed: heed}
}

func (s *stuckLogs) ConsumeLogs(ctx context.Context, _ plog.Logs) error {
	s.entered <- struct{}{}
	if s.heed {
		select {
		case <-s.release:
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
	<-s.release
	return nil
}

func TestStuckConsumerNeverBlocksTheEngine(t *testing.T) {
	r, engine := newTestReceiver(t, func(c *Config) { c.QueueSize = 10; c.Traces.Connections = tracesAll })
	stuck, traces := newStuckLogs(false), new(consumertest.TracesSink)
	r.logs, r.traces = stuck, traces
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
	l := r.logLane

	engine.sink(connections(telemetry.ConnectionEnd, 1))
	<-stuck.entered
	for range 20 { // returns, although nothing is taken any more
		want := traces.SpanCount() + 1
		engine.sink(connections(telemetry.ConnectionEnd, 1))
		eventually(t, func() bool { return traces.SpanCount() >= want }, "the other signal goes on")
	}
	assert.Equal(t, laneCounts{waiting: 10, queueFull: 10}, l.counts())

	close(stuck.release)
	require.NoError(t, r.Shutdown(context.Background()))
	assert.Equal(t, laneCounts{delivered: 11, queueFull: 10}, l.counts())
}

func TestShutdownDrains(t *testing.T) {
	r, engine := newTestReceiver(t, nil)
	stuck := newStuckLogs(true)
	r.logs = stuck
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
	l := r.logLane
	engine.sink(connections(telemetry.ConnectionStart, 3))
	engine.atShutdown = connections(telemetry.ConnectionEnd, 4)
	time.AfterFunc(50*time.Millisecond, func() { close(stuck.release) })
	require.NoError(t, r.Shutdown(context.Background()))
	assert.Equal(t, laneCounts{delivered: 7}, l.counts(), "what the engine tells last included")
}

func TestShutdownGivesUpAndCounts(t *testing.T) {
	for name, heed := range map[string]bool{"consumer that heeds the context": true, "consumer that does not": false} {
		t.Run(name, func(t *testing.T) {
			r, engine := newTestReceiver(t, nil)
			r.drain = time.Hour
			stuck := newStuckLogs(heed)
			r.logs = stuck
			require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
			l := r.logLane
			engine.sink(connections(telemetry.ConnectionStart, 1))
			<-stuck.entered
			engine.sink(connections(telemetry.ConnectionStart, 5))

			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			require.NoError(t, r.Shutdown(ctx))
			if !heed {
				close(stuck.release)
			}
			<-l.done
			assert.Equal(t, laneCounts{unsent: 6}, l.counts(), "counted once")
		})
	}
}

func TestShutdownHasALimitOfItsOwn(t *testing.T) {
	r, engine := newTestReceiver(t, nil)
	r.drain = 20 * time.Millisecond
	stuck := newStuckLogs(true)
	r.logs = stuck
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
	l := r.logLane
	engine.sink(connections(telemetry.ConnectionStart, 1))
	require.NoError(t, r.Shutdown(context.Background()))
	<-l.done
	assert.Equal(t, uint64(1), l.counts().unsent)
}
