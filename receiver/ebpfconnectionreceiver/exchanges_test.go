package ebpfconnectionreceiver

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/internal/telemetry"
)

func eventNames(logs []plog.Logs) []string {
	var names []string
	for _, batch := range logs {
		records := batch.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
		for i := range records.Len() {
			names = append(names, records.At(i).EventName())
		}
	}
	return names
}

// What is said of a connection comes between its start and its end, and the policy
// that changed in between, too.
func TestExchangesInThreeSignals(t *testing.T) {
	r, fake := newTestReceiver(t, func(c *Config) { c.Traces.Connections = tracesAll })
	logs, traces, metrics := new(consumertest.LogsSink), new(consumertest.TracesSink), new(consumertest.MetricsSink)
	r.logs, r.traces, r.metrics = logs, traces, metrics
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))

	fake.sink(connections(telemetry.ConnectionStart, 1))
	batch := exchanges()
	fake.exchanges(batch)
	clear(batch) // the engine uses the slice again
	fake.changed(telemetry.PolicyChange{Change: telemetry.PolicyExpired, Time: began})
	fake.exchanges(exchanges()[:1])
	fake.sink(connections(telemetry.ConnectionEnd, 1))
	require.NoError(t, r.Shutdown(context.Background()))

	assert.Equal(t, []string{
		"weir.connection.start",
		"weir.http.request", "weir.tls.handshake", "weir.dns.query", "weir.ssh.handshake",
		"weir.policy.change", "weir.http.request", "weir.connection.end",
	}, eventNames(logs.AllLogs()))

	var names []string
	for _, batch := range traces.AllTraces() {
		spans := batch.ResourceSpans().At(0).ScopeSpans().At(0).Spans()
		for i := range spans.Len() {
			names = append(names, spans.At(i).Name())
		}
	}
	assert.Equal(t, []string{"GET", "tls handshake", "dns query", "ssh handshake", "GET", "connection tcp"}, names)

	require.Len(t, metrics.AllMetrics(), 1, "the last collection")
	made := make(map[string]bool)
	slice := metrics.AllMetrics()[0].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	for i := range slice.Len() {
		made[slice.At(i).Name()] = true
	}
	assert.True(t, made[telemetry.MetricHTTPRequests] && made[telemetry.MetricDNSQueries] && made[telemetry.MetricDNSDuration], made)
}

func TestExchangeEventsSwitchedOff(t *testing.T) {
	for name, off := range map[string]func(*Config){
		"weir.http.request":  func(c *Config) { c.Events.WeirHTTPRequest.Enabled = false },
		"weir.tls.handshake": func(c *Config) { c.Events.WeirTLSHandshake.Enabled = false },
		"weir.dns.query":     func(c *Config) { c.Events.WeirDNSQuery.Enabled = false },
		"weir.ssh.handshake": func(c *Config) { c.Events.WeirSSHHandshake.Enabled = false },
	} {
		r, fake := newTestReceiver(t, off)
		logs := new(consumertest.LogsSink)
		r.logs = logs
		require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
		fake.exchanges(exchanges())
		require.NoError(t, r.Shutdown(context.Background()))
		assert.Len(t, eventNames(logs.AllLogs()), 3)
		assert.NotContains(t, eventNames(logs.AllLogs()), name)
	}
}

// By default an exchange becomes a span where it was blocked, or is part of a trace.
func TestSpansOfExchangesByDefault(t *testing.T) {
	r, fake := newTestReceiver(t, nil)
	traces := new(consumertest.TracesSink)
	r.traces = traces
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
	batch := append(exchanges(), exchanges()...)
	batch[1].Judgement.Verdict = telemetry.Blocked
	batch[4].HTTP.Trace = telemetry.TraceContext{Valid: true, Sampled: true, TraceID: [16]byte{1}, ParentID: [8]byte{2}}
	fake.exchanges(batch)
	require.NoError(t, r.Shutdown(context.Background()))
	assert.Equal(t, 2, traces.SpanCount())
}

// What is looked for follows from what can come out of it.
func TestWantedExchanges(t *testing.T) {
	all := engine.Report{HTTP: true, TLS: true, DNS: true, SSH: true}
	somePolicy := component.MustNewID("connection_policy")
	type signals struct{ logs, traces, metrics bool }
	for _, c := range []struct {
		name    string
		signals signals
		change  func(*Config)
		want    engine.Report
	}{
		{"no pipeline", signals{}, nil, engine.Report{}},
		{"logs", signals{logs: true}, nil, all},
		{"logs, an event off", signals{logs: true}, func(c *Config) { c.Events.WeirTLSHandshake.Enabled = false }, engine.Report{HTTP: true, DNS: true, SSH: true}},
		{"traces", signals{traces: true}, nil, engine.Report{HTTP: true}},
		{"traces with a policy", signals{traces: true}, func(c *Config) { c.Policy = &somePolicy }, engine.Report{HTTP: true}},
		{"traces without trust", signals{traces: true}, func(c *Config) { c.Traces.TrustTraceparent = "none" }, engine.Report{}},
		{"traces of all", signals{traces: true}, func(c *Config) { c.Traces.Connections = tracesAll }, all},
		{"metrics", signals{metrics: true}, nil, engine.Report{HTTP: true, DNS: true}},
		{"metrics, one of DNS", signals{metrics: true}, func(c *Config) {
			c.Metrics.WeirHTTPRequests.Enabled, c.Metrics.WeirDNSQueries.Enabled = false, false
		}, engine.Report{DNS: true}},
		{"metrics, none of them", signals{metrics: true}, func(c *Config) {
			c.Metrics.WeirHTTPRequests.Enabled, c.Metrics.WeirDNSQueries.Enabled, c.Metrics.WeirDNSDuration.Enabled = false, false, false
		}, engine.Report{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, fake := newTestReceiver(t, c.change)
			if c.signals.logs {
				r.logs = consumertest.NewNop()
			}
			if c.signals.traces {
				r.traces = consumertest.NewNop()
			}
			if c.signals.metrics {
				r.metrics = consumertest.NewNop()
			}
			host := newTestHost()
			host.extensions[somePolicy] = &fakePolicy{}
			require.NoError(t, r.Start(context.Background(), host))
			require.NoError(t, r.Shutdown(context.Background()))
			assert.Equal(t, c.want, fake.inspect.Report)
			assert.Equal(t, c.signals.traces && r.config.Policy != nil, fake.inspect.ReportBlocked)
		})
	}
}

func TestInspectSettings(t *testing.T) {
	config, err := loadCase(t, "everything")
	require.NoError(t, err)
	r, fake := newTestReceiver(t, func(c *Config) { c.Inspect, c.Record, c.Names = config.Inspect, config.Record, config.Names })
	r.settings.ID = component.MustNewIDWithName("ebpf_connection", "two")
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
	require.NoError(t, r.Shutdown(context.Background()))
	assert.Equal(t, engine.InspectConfig{
		Report:   engine.Report{Headers: []string{"x-request-id", "accept"}, Query: true, Answers: true},
		MaxBytes: 32768, MaxWait: 2 * time.Second, LateWait: 30 * time.Second, Queues: 4,
		SSHServers: []string{"/opt/sbin/sshd"}, Logins: engine.LoginsKernel,
		Resolvers: []netip.AddrPort{
			netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("192.0.2.54:5353"),
			netip.MustParseAddrPort("[2001:db8::53]:53"), netip.MustParseAddrPort("[2001:db8::54]:53"),
		},
		NamesFile: "/var/lib/other/ebpf_connection_two.names",
	}, fake.inspect)
}

// Where names are kept: systemd says, or the settings.
func TestNamesFile(t *testing.T) {
	id := component.MustNewID("ebpf_connection")
	names := createDefaultConfig().(*Config).Names
	t.Setenv("STATE_DIRECTORY", "")
	assert.Equal(t, "/var/lib/weir/ebpf_connection.names", names.file(id))
	t.Setenv("STATE_DIRECTORY", "/var/lib/private/weir:/var/lib/more")
	assert.Equal(t, "/var/lib/private/weir/ebpf_connection.names", names.file(id))
	names.StateDirectory = "/srv"
	assert.Equal(t, "/srv/ebpf_connection.names", names.file(id))
	names.Keep = false
	assert.Empty(t, names.file(id))
}

// Long exchanges take more of the queue, so that strangers cannot fill the memory.
func TestQueueWeighsExchanges(t *testing.T) {
	all := func(*telemetry.Exchange) bool { return true }
	short, long := exchanges()[:1], exchanges()[:1]
	long[0].HTTP.Path = strings.Repeat("a", 64<<10)

	q := newQueue(300, false)
	for range 200 {
		q.putExchanges(short, all)
	}
	length, dropped, _ := q.counts()
	assert.Equal(t, 100, length)
	assert.Equal(t, uint64(100), dropped)

	q = newQueue(300, false)
	q.putExchanges(long, all)
	q.putExchanges(long, all)
	length, dropped, _ = q.counts()
	assert.Equal(t, 1, length, "one always fits")
	assert.Equal(t, uint64(1), dropped)
	q.put(connections(telemetry.ConnectionStart, 50), everything)
	length, _, _ = q.counts()
	assert.Equal(t, 42, length, "one of 259, and 41 of 1")
	batch := make([]entry, 100)
	assert.Equal(t, 42, q.take(batch))
	q.put(connections(telemetry.ConnectionStart, 400), everything)
	length, _, _ = q.counts()
	assert.Equal(t, 300, length, "all is free again")
}

// A batch of long exchanges is not larger than messages may be.
func TestBatchesAreBounded(t *testing.T) {
	q := newQueue(1<<20, false)
	long := exchanges()[:1]
	long[0].HTTP.Path = strings.Repeat("a", 64<<10)
	for range 100 {
		q.putExchanges(long, func(*telemetry.Exchange) bool { return true })
	}
	batch := make([]entry, batchSize)
	total, largest := 0, 0
	for total < 100 {
		n := q.take(batch)
		total += n
		largest = max(largest, n)
	}
	assert.Equal(t, 100, total)
	assert.Equal(t, batchWeight/259, largest)
}

// Both kinds of records wait for room, and keep their order.
func TestPatientQueueKeepsOrder(t *testing.T) {
	q := newQueue(4, true)
	go func() {
		for i := range uint64(50) {
			start, said := connections(telemetry.ConnectionStart, 1), exchanges()[:1]
			start[0].ID, said[0].Connection.ID = i, i
			q.put(start, everything)
			q.putExchanges(said, func(*telemetry.Exchange) bool { return true })
		}
		q.close()
	}()
	batch := make([]entry, 3)
	var next uint64
	for n := q.take(batch); n > 0; n = q.take(batch) {
		for _, e := range batch[:n] {
			if e.exchange == nil {
				assert.Equal(t, next, e.connection.ID)
				continue
			}
			assert.Equal(t, next, e.exchange.Connection.ID)
			next++
		}
	}
	assert.Equal(t, uint64(50), next)
}

func BenchmarkQueueOfExchanges(b *testing.B) {
	q := newQueue(1<<16, false)
	records := exchanges()
	batch := make([]entry, batchSize)
	b.ReportAllocs()
	for b.Loop() {
		q.putExchanges(records, func(*telemetry.Exchange) bool { return true })
		q.take(batch)
	}
}
