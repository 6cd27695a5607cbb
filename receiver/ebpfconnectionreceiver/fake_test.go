package ebpfconnectionreceiver

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/zap"

	"github.com/weirnet/weir/extension/connectionpolicyextension"
	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// fakeEngine stands in for the kernel. It notes what is asked of it, in order.
type fakeEngine struct {
	mu    sync.Mutex
	calls []string
	// sink and exchanges are the receiver's.
	sink      func([]telemetry.Connection)
	exchanges func([]telemetry.Exchange)
	inspect   engine.InspectConfig
	// atShutdown is told to the sink by Shutdown, as what the engine still knows.
	atShutdown []telemetry.Connection
	changed    func(telemetry.PolicyChange)

	applyErr, startErr, totalsErr error
	blockedErr                    error
	totals                        telemetry.Totals
	statistics                    engineStats
}

func (e *fakeEngine) note(call string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, call)
}

func (e *fakeEngine) called() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.calls...)
}

func (e *fakeEngine) Start(sink engine.Sink) error {
	e.note("start")
	e.sink, e.exchanges = sink.Connections, sink.Exchanges
	return e.startErr
}

func (e *fakeEngine) Apply(_ uint64, p *policy.Policy, _ *engine.Return) error {
	if p == nil {
		e.note("apply nothing")
	} else {
		e.note("apply policy")
	}
	return e.applyErr
}

func (e *fakeEngine) Totals() (telemetry.Totals, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.totals, e.totalsErr
}

func (e *fakeEngine) failTotals(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.totalsErr = err
}

// LastGeneration: no earlier process is known.
func (e *fakeEngine) LastGeneration() uint64 { return 0 }

func (e *fakeEngine) Connections(visit func(*telemetry.Connection) bool) error {
	visit(&telemetry.Connection{ID: 7})
	return nil
}

func (e *fakeEngine) Blocked() (time.Time, uint64, error) { return began, 7, e.blockedErr }

func (e *fakeEngine) stats() engineStats { return e.statistics }

func (e *fakeEngine) Shutdown(context.Context) error {
	e.note("shutdown")
	if e.sink != nil && e.atShutdown != nil {
		e.sink(e.atShutdown)
	}
	return nil
}

// newTestReceiver makes a receiver on a fake engine.
func newTestReceiver(t *testing.T, change func(*Config)) (*connectionReceiver, *fakeEngine) {
	t.Helper()
	config := createDefaultConfig().(*Config)
	config.CollectionInterval = time.Hour
	if change != nil {
		change(config)
	}
	fake := &fakeEngine{}
	r := newReceiver(config, receivertest.NewNopSettings(metadata.Type))
	r.open = func(_ *Config, inspect engine.InspectConfig, changed func(telemetry.PolicyChange), _ *zap.Logger) (connectionEngine, error) {
		fake.inspect, fake.changed = inspect, changed
		return fake, nil
	}
	return r, fake
}

// testHost has extensions and remembers what is reported to it.
type testHost struct {
	component.Host
	extensions map[component.ID]component.Component

	mu       sync.Mutex
	statuses []componentstatus.Status
}

func newTestHost() *testHost {
	return &testHost{Host: componenttest.NewNopHost(), extensions: make(map[component.ID]component.Component)}
}

func (h *testHost) GetExtensions() map[component.ID]component.Component { return h.extensions }

func (h *testHost) Report(event *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.statuses = append(h.statuses, event.Status())
}

func (h *testHost) reported() []componentstatus.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]componentstatus.Status(nil), h.statuses...)
}

// fakePolicy is a connection_policy extension with one policy.
type fakePolicy struct {
	component.StartFunc
	component.ShutdownFunc
	changed   func(telemetry.PolicyChange)
	cancelled bool

	mu          sync.Mutex
	connections []telemetry.Connection
	byItself    []telemetry.PolicyChange
	counted     []uint64
	before      []int // how many records had come
}

// Connections, Exchanges and PolicyChanged make it an EventSink.
func (p *fakePolicy) Connections(records []telemetry.Connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connections = append(p.connections, records...)
}

func (p *fakePolicy) Counted(since time.Time, blocked uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counted = append(p.counted, blocked)
	p.before = append(p.before, len(p.connections))
}

func (p *fakePolicy) Exchanges([]telemetry.Exchange) {}

func (p *fakePolicy) PolicyChanged(change telemetry.PolicyChange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byItself = append(p.byItself, change)
}

func (p *fakePolicy) Subscribe(_ uint64, apply func(connectionpolicyextension.Generation) error, changed func(telemetry.PolicyChange)) (func(), error) {
	p.changed = changed
	if err := apply(connectionpolicyextension.Generation{Number: 1, Policy: &policy.Policy{}}); err != nil {
		return nil, err
	}
	return func() { p.cancelled = true }, nil
}

var began = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// connections makes n records of that kind.
func connections(kind telemetry.Kind, n int) []telemetry.Connection {
	records := make([]telemetry.Connection, n)
	for i := range records {
		records[i] = telemetry.Connection{
			Kind: kind, ID: uint64(i + 1), Time: began, Observed: began, FirstSeen: began, LastSeen: began.Add(time.Second),
			Direction: packet.Outbound, Interface: "eth0", Count: 1,
			Tuple: packet.Tuple{
				Source: netip.MustParseAddr("192.0.2.2"), SourcePort: 41822,
				Destination: netip.MustParseAddr("203.0.113.7"), DestinationPort: 443, Protocol: packet.TCP,
			},
			Judgement: telemetry.Judgement{Verdict: telemetry.Detected},
		}
	}
	return records
}

// exchanges makes a request, a handshake, a query and an SSH handshake.
func exchanges() []telemetry.Exchange {
	c := connections(telemetry.ConnectionStart, 1)[0]
	records := []telemetry.Exchange{
		{Kind: telemetry.HTTPRequest, Protocol: "http", HTTP: &telemetry.HTTPExchange{Method: "GET", Path: "/", Status: 200}},
		{Kind: telemetry.TLSHandshake, Protocol: "tls", TLS: &telemetry.TLSExchange{ServerName: "example.com"}},
		{Kind: telemetry.DNSQuery, Protocol: "dns", DNS: &telemetry.DNSExchange{Name: "example.com", Type: "A", Service: "dns", Transport: "udp"}},
		{Kind: telemetry.SSHHandshake, Protocol: "ssh", SSH: &telemetry.SSHExchange{ClientSoftware: "OpenSSH_9.6"}},
	}
	for i := range records {
		e := &records[i]
		e.Time, e.Answered, e.Observed = began, began.Add(time.Millisecond), began
		e.Connection = telemetry.ConnectionRef{ID: c.ID, Tuple: c.Tuple, Direction: c.Direction, Interface: c.Interface, FirstSeen: c.FirstSeen}
		e.Judgement = telemetry.Judgement{Verdict: telemetry.Detected}
	}
	return records
}
