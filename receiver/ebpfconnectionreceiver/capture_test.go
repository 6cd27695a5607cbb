package ebpfconnectionreceiver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/weirnet/weir/internal/telemetry"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

const sampleFile = "../../testdata/captures/sample.pcap"

// sampleRecords are the starts and ends of its nine connections, two HTTP requests
// and a DNS query.
const sampleRecords = 21

// newReplayReceiver makes a receiver that replays a file; stopped is whether it
// asked the Collector to end.
func newReplayReceiver(path string, change func(*Config)) (r *connectionReceiver, stopped *atomic.Bool) {
	config := createDefaultConfig().(*Config)
	config.CaptureFile = path
	if change != nil {
		change(config)
	}
	r = newReceiver(config, receivertest.NewNopSettings(metadata.Type))
	stopped = new(atomic.Bool)
	r.captureEnd.stopCollector = func() error { stopped.Store(true); return nil }
	return r, stopped
}

func bodies(logs []plog.Logs) (all []string) {
	for _, l := range logs {
		records := l.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
		for i := range records.Len() {
			all = append(all, records.At(i).Body().Str())
		}
	}
	return all
}

func TestReplayOfACapture(t *testing.T) {
	r, stopped := newReplayReceiver(sampleFile, func(c *Config) { c.Traces.Connections = tracesAll })
	logs, traces, metrics := new(consumertest.LogsSink), new(consumertest.TracesSink), new(consumertest.MetricsSink)
	r.logs, r.traces, r.metrics = logs, traces, metrics
	host := newTestHost()
	require.NoError(t, r.Start(context.Background(), host))
	eventually(t, func() bool { return logs.LogRecordCount() == sampleRecords && traces.SpanCount() == 12 }, "all records come")
	require.NoError(t, r.Shutdown(context.Background()))
	lines := bodies(logs.AllLogs())
	assert.Equal(t, "detected  forwarded udp 192.0.2.20:53211 → 192.0.2.1:53", lines[0])
	var web []string
	for _, line := range lines {
		if strings.Contains(line, " 192.0.2.20:41822 ") {
			web = append(web, line)
		}
	}
	assert.Equal(t, []string{
		"detected  forwarded tcp 192.0.2.20:41822 → 198.51.100.7:80",
		"http      forwarded tcp 192.0.2.20:41822 → 198.51.100.7:80 GET http://www.example.com/ 200 21ms",
		"end       forwarded tcp 192.0.2.20:41822 → 198.51.100.7:80 http fin 28ms ↑ 281 B/6 ↓ 164 B/3",
	}, web, "in the order in which it happened")
	assert.Contains(t, lines, "dns       forwarded udp 192.0.2.20:53211 → 192.0.2.1:53 A www.example.com NOERROR 9ms")
	assert.NotZero(t, metrics.DataPointCount())
	assert.False(t, stopped.Load())
	assert.Empty(t, host.reported())
}

// slowLogs takes a while, refuses every other batch, and keeps the rest.
type slowLogs struct {
	consumertest.LogsSink
	calls atomic.Int64
}

func (s *slowLogs) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	time.Sleep(time.Millisecond)
	if s.calls.Add(1)%2 == 0 {
		return errors.New("full")
	}
	return s.LogsSink.ConsumeLogs(ctx, logs)
}

// However small the queue and slow the pipeline, no record is lost or repeated.
func TestReplayWaitsForPipelines(t *testing.T) {
	r, stopped := newReplayReceiver(sampleFile, func(c *Config) { c.QueueSize, c.CaptureStop = 2, true })
	logs := new(slowLogs)
	r.logs = logs
	require.NoError(t, r.Start(context.Background(), newTestHost()))
	eventually(t, stopped.Load, "the Collector is asked to end")
	assert.Equal(t, sampleRecords, logs.LogRecordCount())
	counts := r.logLane.counts()
	require.NoError(t, r.Shutdown(context.Background()))
	assert.Equal(t, laneCounts{delivered: sampleRecords}, counts)
}

func TestShutdownOfAReplayThatIsStuck(t *testing.T) {
	r, stopped := newReplayReceiver(sampleFile, func(c *Config) { c.QueueSize, c.CaptureStop = 1, true })
	r.drain = 50 * time.Millisecond
	stuck := newStuckLogs(true)
	r.logs = stuck
	require.NoError(t, r.Start(context.Background(), newTestHost()))
	<-stuck.entered
	require.Error(t, r.Shutdown(context.Background()))
	eventually(t, func() bool { return r.logLane.counts().unsent == sampleRecords }, "what was not delivered is counted")
	assert.False(t, stopped.Load())
}

func TestCaptureErrors(t *testing.T) {
	r, _ := newReplayReceiver("missing.pcap", nil)
	r.logs = consumertest.NewNop()
	require.ErrorIs(t, r.Start(context.Background(), newTestHost()), os.ErrNotExist)

	content, err := os.ReadFile(sampleFile)
	require.NoError(t, err)
	broken := filepath.Join(t.TempDir(), "broken.pcap")
	require.NoError(t, os.WriteFile(broken, append(content, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"...), 0o600))
	for stop, status := range map[bool]componentstatus.Status{false: componentstatus.StatusPermanentError, true: componentstatus.StatusFatalError} {
		r, stopped := newReplayReceiver(broken, func(c *Config) { c.CaptureStop = stop })
		logs := new(consumertest.LogsSink)
		r.logs = logs
		host := newTestHost()
		require.NoError(t, r.Start(context.Background(), host))
		eventually(t, func() bool { return len(host.reported()) > 0 }, "the error is reported")
		eventually(t, func() bool { return logs.LogRecordCount() == sampleRecords }, "what could be read is delivered")
		assert.Equal(t, []componentstatus.Status{status}, host.reported())
		require.NoError(t, r.Shutdown(context.Background()))
		assert.False(t, stopped.Load())
	}
}

func TestCaptureAddresses(t *testing.T) {
	capture := func(addresses ...any) map[string]any {
		return map[string]any{"capture_file": sampleFile, "capture_addresses": addresses}
	}
	config, err := load(confmap.NewFromStringMap(capture("192.0.2.20", "2001:db8::/64")))
	require.NoError(t, err)
	got, err := config.captureAddresses()
	require.NoError(t, err)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.20/32"), netip.MustParsePrefix("2001:db8::/64")}, got)
	for _, wrong := range []string{"", "eth0", "192.0.2.300", "192.0.2.0/33", "fe80::1%eth0", "192.0.2.1-192.0.2.9"} {
		_, err := load(confmap.NewFromStringMap(capture("192.0.2.20", wrong)))
		require.ErrorContains(t, err, fmt.Sprintf("capture_addresses::1: %q is not accepted: want an address or a prefix", wrong))
	}
	_, err = load(confmap.NewFromStringMap(map[string]any{"capture_addresses": []any{"192.0.2.20"}}))
	require.ErrorContains(t, err, "capture_addresses: a host that is watched knows its own: want capture_file, too")
}

func TestCaptureStopNeedsACapture(t *testing.T) {
	_, err := load(confmap.NewFromStringMap(map[string]any{"capture_stop": true}))
	require.ErrorContains(t, err, "capture_stop: there is no capture to end with: want capture_file, too")
}

func TestQueueWaitsForRoom(t *testing.T) {
	q := newQueue(2, true)
	done := make(chan struct{})
	go func() {
		q.put(connections(telemetry.ConnectionStart, 10), everything)
		close(done)
	}()
	batch := make([]entry, 3)
	var got []uint64
	for len(got) < 6 {
		for _, e := range batch[:q.take(batch)] {
			got = append(got, e.connection.ID)
		}
	}
	assert.Equal(t, []uint64{1, 2, 3, 4, 5, 6}, got[:6])
	q.close()
	<-done
	length, dropped, late := q.counts()
	assert.Zero(t, dropped)
	assert.Equal(t, 10, len(got)+length+int(late))
}
