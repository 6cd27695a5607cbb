package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

func TestMain(m *testing.M) {
	if os.Getenv(clientMarker) != "" {
		runClient()
	}
	if os.Getenv(agentMarker) != "" {
		runAgent()
	}
	nstest.Main(m)
}

// collector is a sink that tests can wait on.
type collector struct {
	mu      sync.Mutex
	records []telemetry.Connection
	said    []telemetry.Exchange
	changes []telemetry.PolicyChange
	// shutDown ends the engine, once.
	shutDown func()
}

func (c *collector) takeExchanges(said []telemetry.Exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, said...)
}

func (c *collector) take(records []telemetry.Connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, records...)
}

func (c *collector) changed(change telemetry.PolicyChange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = append(c.changes, change)
}

func (c *collector) of(kind telemetry.Kind, port uint16) (found []telemetry.Connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.records {
		if r.Kind == kind && r.Tuple.DestinationPort == port && r.Tuple.Protocol == packet.TCP {
			found = append(found, r)
		}
	}
	return found
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// start gives an engine that watches the loopback interface of the test's own
// namespace.
func start(t *testing.T, text string, changes ...func(*Config)) (*Engine, *collector) {
	t.Helper()
	nstest.Need(t)
	ignore := goleak.IgnoreCurrent()
	c := &collector{}
	config := Config{
		Include: []string{"lo"}, MaxEntries: 1024, Keep: KeepNever, OnChange: c.changed,
		Timeouts: Timeouts{TCP: time.Minute, TCPClosing: time.Minute, UDP: time.Minute, ICMP: time.Minute},
	}
	for _, change := range changes {
		change(&config)
	}
	e, err := New(config, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	c.shutDown = sync.OnceFunc(func() {
		if err := e.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		c.shutDown()
		datapath.CloseParked()
		goleak.VerifyNone(t, ignore)
	})
	if text != "" {
		if err := e.Apply(1, load(t, text), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Start(Sink{Connections: c.take, Exchanges: c.takeExchanges}); err != nil {
		t.Fatal(err)
	}
	return e, c
}

func load(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, _, err := policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serve accepts connections and closes each.
func serve(t *testing.T) (port uint16) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func connect(port uint16) error {
	c, err := net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

const noLoopback = "safeguards: {loopback: false, export: false}\n"

func TestRecordsOfAConnection(t *testing.T) {
	_, c := start(t, "")
	port := serve(t)
	if err := connect(port); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an end", func() bool { return len(c.of(telemetry.ConnectionEnd, port)) > 0 })
	starts, ends := c.of(telemetry.ConnectionStart, port), c.of(telemetry.ConnectionEnd, port)
	if len(starts) != 1 || len(ends) != 1 || starts[0].ID != ends[0].ID {
		t.Fatalf("starts %+v, ends %+v", starts, ends)
	}
	r := ends[0]
	// Loopback shows each packet twice, on its way out and in.
	if r.Direction != packet.Outbound || r.End != telemetry.EndFIN || r.Source.Packets < 3 || r.Source.Packets > 5 {
		t.Errorf("end %+v", r)
	}
	if r.Judgement.Action != telemetry.NoAction || r.Judgement.Verdict != telemetry.Detected || r.Judgement.Rule != "" {
		t.Errorf("something is claimed without rules: %+v", r.Judgement)
	}
}

func TestMissingCapability(t *testing.T) {
	e, _ := start(t, "")
	const rules = "rules: [{name: web, action: allow, layer7: {ssh: {public_keys: 'SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU'}}}]"
	works := setSSHLogins
	defer func() { setSSHLogins = works }()
	setSSHLogins = func(*datapath.Datapath, bool) error { return errors.New("no hook") }
	err := e.Apply(2, load(t, "mode: prevent\n"+rules), nil)
	for _, part := range []string{"ssh.public_keys of rule web", "no hook"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Fatalf("error %v, want %q in it", err, part)
		}
	}
	if e.Stats().Generation != 0 {
		t.Error("the refused policy is in force")
	}
	if err := e.Apply(3, load(t, rules), nil); err != nil {
		t.Errorf("in detect mode: %v", err)
	}
	setSSHLogins = works
	if err := e.Apply(4, load(t, "mode: prevent\n"+rules), nil); err != nil {
		t.Errorf("with the capability: %v", err)
	}
	if err := e.Apply(5, load(t, "rules: []"), nil); err != nil {
		t.Errorf("without such rules: %v", err)
	}
}

// TestUndecided: of a connection that depends on facts nobody can see, nothing is
// claimed; where both ways lead to one action, that is the action.
func TestUndecided(t *testing.T) {
	_, c := start(t, noLoopback+`
rules:
  - {name: web, action: allow, layer4: {tcp: 1-1024}, layer7: {http: [example.com]}}
  - {name: rest, action: block}`)
	port := serve(t)
	if err := connect(port); err != nil {
		t.Fatal(err)
	}
	connect(1) // refused by nobody listening
	eventually(t, "two starts", func() bool {
		return len(c.of(telemetry.ConnectionStart, port)) == 1 && len(c.of(telemetry.ConnectionStart, 1)) == 1
	})
	if j := c.of(telemetry.ConnectionStart, port)[0].Judgement; j.Rule != "rest" || j.Action != telemetry.Block {
		t.Errorf("beyond the rule's ports: %+v", j)
	}
	if j := c.of(telemetry.ConnectionStart, 1)[0].Judgement; j.Rule != "" || j.Action != telemetry.NoAction || j.Reason != telemetry.ReasonPending {
		t.Errorf("undecided: %+v", j)
	}
}

func TestExpiry(t *testing.T) {
	e, c := start(t, "mode: prevent\n"+noLoopback+"rules: [{name: other, action: allow, layer4: udp}]")
	port := serve(t)
	expires := time.Now().Add(6 * time.Second).UTC().Format(time.RFC3339)
	at, _ := time.Parse(time.RFC3339, expires)
	err := e.Apply(2, load(t, "mode: prevent\n"+noLoopback+"rules: [{name: for-now, action: allow, expires: "+expires+"}, {name: other, action: allow, layer4: udp}]"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := connect(port); err != nil {
		t.Fatal(err)
	}
	eventually(t, "expiry", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.changes) > 0
	})
	if time.Now().Before(at) {
		t.Error("expired too early")
	}
	if got := c.changes[0]; got.Change != telemetry.PolicyExpired || got.Detail != "expired: for-now" || got.Generation != 2 {
		t.Errorf("change %+v", got)
	}
	if err := connect(port); err == nil {
		t.Error("the connection passed after the rule had expired")
	}
}

// TestMatchesOutliveSwaps: the count of a rule goes on whatever replaces the
// tables it was counted in.
func TestMatchesOutliveSwaps(t *testing.T) {
	const text = noLoopback + "rules: [{name: all, action: allow}]"
	e, _ := start(t, text)
	port := serve(t)
	for i := range 5 {
		if err := connect(port); err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(uint64(i+2), load(t, text), nil); err != nil {
			t.Fatal(err)
		}
	}
	totals, err := e.Totals()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range totals.Rules {
		if r.Rule == "all" && r.Count == 5 {
			return
		}
	}
	t.Errorf("rules %+v, want 5 matches", totals.Rules)
}

// TestKnownAtOnce: the first records that a policy gives rise to bear its generation and
// its rule.
func TestKnownAtOnce(t *testing.T) {
	const text = noLoopback + "rules: [{name: all, action: allow}]"
	e, c := start(t, text, func(c *Config) { c.MaxEntries = 1 << 16 })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			conn, err := net.Dial("udp", "127.0.0.1:9") // each from a port of its own
			if err != nil {
				done <- err
				return
			}
			conn.Write([]byte("x"))
			conn.Close()
		}
		done <- nil
	}()
	for i := range 50 {
		if err := e.Apply(uint64(i+2), load(t, text), nil); err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.shutDown()
	generations := map[uint64]bool{}
	for _, r := range c.records {
		if r.Kind != telemetry.ConnectionStart || r.Tuple.Protocol != packet.UDP {
			continue
		}
		generations[r.Judgement.Generation] = true
		if r.Judgement.Generation == 0 || r.Judgement.Rule != "all" {
			t.Fatalf("a record without its policy: %+v", r)
		}
	}
	if len(generations) < 20 {
		t.Errorf("connections began under %d policies only", len(generations))
	}
}

func TestWouldCut(t *testing.T) {
	p := load(t, "mode: prevent\nrules: [{name: ssh, action: allow, direction: inbound, layer3: {source: 192.0.2.0/24}, layer4: {tcp: 22}}]")
	inbound := func(source string) packet.Tuple {
		return packet.Tuple{
			Source: netip.MustParseAddr(source), SourcePort: 50000,
			Destination: netip.MustParseAddr("198.51.100.1"), DestinationPort: 22, Protocol: packet.TCP,
		}
	}
	got := wouldCut(p, []packet.Tuple{inbound("192.0.2.7"), inbound("203.0.113.9")})
	if len(got) != 1 || got[0] != "tcp 198.51.100.1:22 from 203.0.113.9:50000" {
		t.Errorf("cut %q", got)
	}
}
