package main

import (
	"bytes"
	"context"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension"

	"github.com/weirnet/weir/extension/connectionapiextension"
	"github.com/weirnet/weir/extension/connectionpolicyextension"
	"github.com/weirnet/weir/internal/apiclient"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

// livePolicy is what the Weir of the tests has in force.
const livePolicy = `mode: prevent
rules:
  - {name: ssh, action: allow, direction: inbound, layer4: {tcp: 22}}
  - {name: web, action: allow, direction: inbound, layer4: {tcp: [80, 443]}}
  - {name: names, description: the resolvers, action: allow, direction: outbound, layer4: {udp: 53}}
`

// bench is a Weir without a kernel: its API, its policy, and an engine that has what
// it is given.
type bench struct {
	connectionapiextension.Attachable
	t           *testing.T
	dir, socket string
}

type benchHost struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h *benchHost) GetExtensions() map[component.ID]component.Component { return h.extensions }

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	b.socket = filepath.Join(b.dir, "run", "api.sock")
	if err := os.WriteFile(filepath.Join(b.dir, "policy.yaml"), []byte(livePolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	host := &benchHost{Host: componenttest.NewNopHost()}
	policies := b.extension(connectionpolicyextension.NewFactory(), host, map[string]any{
		"file": filepath.Join(b.dir, "policy.yaml"), "state_directory": filepath.Join(b.dir, "state"), "reload_interval": "50ms",
	})
	t.Cleanup(policies)
	shutdown := b.extension(connectionapiextension.NewFactory(), host, map[string]any{"endpoint": b.socket})
	b.Attachable = host.extensions[component.MustNewID("connection_api")].(connectionapiextension.Attachable)
	detach := b.Attach(liveEngine{host.extensions[component.MustNewID("connection_policy")].(holder)})
	t.Cleanup(func() { detach(); shutdown() })
	b.Connections(liveConnections())
	// They are counted behind the call.
	client := apiclient.New(b.socket, nil)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		s, err := client.Statistics(t.Context(), url.Values{"window": {"1h"}})
		if err == nil && len(s.Top.Sources) == len(liveConnections()) {
			return b
		}
		if time.Now().After(deadline) {
			t.Fatalf("the connections are not counted: %+v, %v", s, err)
		}
	}
}

// tells lets connections happen while somebody subscribes.
func (b *bench) tells() {
	done := make(chan struct{})
	var ended sync.WaitGroup
	b.t.Cleanup(func() { close(done); ended.Wait() })
	client := apiclient.New(b.socket, nil)
	ended.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				if h, err := client.Health(context.Background()); err == nil && h.Subscribers > 0 {
					b.Connections(liveConnections())
				}
			}
		}
	})
}

func (b *bench) extension(factory extension.Factory, host *benchHost, settings map[string]any) (shutdown func()) {
	b.t.Helper()
	cfg := factory.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(settings).Unmarshal(cfg); err != nil {
		b.t.Fatal(err)
	}
	set := extension.Settings{ID: component.NewID(factory.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	set.BuildInfo.Version = "1.2.3"
	e, err := factory.Create(context.Background(), set, cfg)
	if err == nil {
		err = e.Start(context.Background(), host)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if host.extensions == nil {
		host.extensions = map[component.ID]component.Component{}
	}
	host.extensions[set.ID] = e
	return func() {
		if err := e.Shutdown(context.Background()); err != nil {
			b.t.Error(err)
		}
	}
}

// weirctl runs a command against it.
func (b *bench) weirctl(arguments ...string) (code int, out, complaints string) {
	b.t.Helper()
	var stdout, stderr bytes.Buffer
	b.t.Setenv(socketVariable, b.socket)
	code = run(arguments, strings.NewReader(""), &stdout, &stderr, nil)
	return code, stdout.String(), stderr.String()
}

// liveEngine has the connections of the tests.
type liveEngine struct{ policies holder }

// holder has the policy, which this engine always enforces at once.
type holder interface {
	Document() (connectionpolicyextension.Document, error)
}

func (liveEngine) Connections(visit func(*telemetry.Connection) bool) error {
	for _, c := range liveConnections() {
		if c.Judgement.Verdict == telemetry.Allowed && !visit(&c) {
			return nil
		}
	}
	return nil
}

func (liveEngine) Totals() (telemetry.Totals, error) {
	return telemetry.Totals{Since: time.Now().Add(-time.Hour), Active: 2, Verdicts: []telemetry.VerdictTotal{
		{Verdict: telemetry.Allowed, Action: telemetry.Allow, Count: 2}, {Verdict: telemetry.Blocked, Action: telemetry.Block, Count: 1},
	}, Rules: []telemetry.RuleTotal{{Rule: "ssh", Count: 17}, {Rule: "web", Count: 4211}}}, nil
}

func (e liveEngine) State() connectionapiextension.EngineState {
	d, _ := e.policies.Document() // there is one
	return connectionapiextension.EngineState{
		FlowEntries: 3, FlowCapacity: 1 << 20, Interfaces: 1, Generation: d.Number, Rules: len(d.Policy.Rules), Lost: map[string]uint64{"flow_table_full": 4},
	}
}

// liveConnections are two that are allowed, and one that was blocked.
func liveConnections() []telemetry.Connection {
	one := func(id uint64, source string, port uint16, rule string) telemetry.Connection {
		c := telemetry.Connection{
			Kind: telemetry.ConnectionStart, ID: id, Time: time.Now(), FirstSeen: time.Now(), LastSeen: time.Now(), Count: 1,
			Direction: packet.Inbound, Interface: "eth0",
			Tuple: packet.Tuple{
				Source: netip.MustParseAddr(source), SourcePort: 40000 + uint16(id),
				Destination: netip.MustParseAddr("192.0.2.20"), DestinationPort: port, Protocol: packet.TCP,
			},
			Source: telemetry.Counts{Packets: 12, Bytes: 1840}, Destination: telemetry.Counts{Packets: 30, Bytes: 41_200},
			Judgement: telemetry.Judgement{Rule: rule, Generation: 1, Verdict: telemetry.Allowed, Action: telemetry.Allow, Reason: telemetry.ReasonRule},
		}
		if rule == "" {
			c.Judgement = telemetry.Judgement{Generation: 1, Verdict: telemetry.Blocked, Action: telemetry.Block, Reason: telemetry.ReasonDefault}
		}
		return c
	}
	return []telemetry.Connection{one(1, "198.51.100.9", 22, "ssh"), one(2, "203.0.113.7", 443, "web"), one(3, "203.0.113.99", 23, "")}
}
