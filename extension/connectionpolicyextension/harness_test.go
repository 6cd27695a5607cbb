package connectionpolicyextension

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weirnet/weir/extension/connectionpolicyextension/internal/metadata"
	"github.com/weirnet/weir/internal/telemetry"
)

// Policies that differ in the number of their rules, which is how tests tell
// them apart.
const (
	noRules    = "mode: detect\n"
	oneRule    = "mode: prevent\nrules:\n  - {name: a, action: allow, layer4: {tcp: [22]}}\n"
	twoRules   = oneRule + "  - {name: b, action: allow, layer4: {tcp: [443]}}\n"
	threeRules = twoRules + "  - {name: c, action: allow, layer4: {tcp: [80]}}\n"
	nobodyIn   = "mode: prevent\ndefault_action: block\nrules:\n  - {name: a, action: block, layer4: {tcp: [22]}}\n"
	broken     = "mode: prevnt\nrules:\n  - {name: a}\n"
	withLists  = "groups:\n  addresses:\n    bad: {file: lists/bad.txt}\nrules:\n  - {name: a, action: block, layer3: {source: [group:bad]}}\n"
)

// statusHost keeps the status events that are reported to it.
type statusHost struct {
	component.Host
	mu     sync.Mutex
	events []*componentstatus.Event
}

func (h *statusHost) Report(event *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, event)
}

func (h *statusHost) statuses() []componentstatus.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []componentstatus.Status
	for _, event := range h.events {
		all = append(all, event.Status())
	}
	return all
}

// bench is an extension whose clock and polls a test drives.
type bench struct {
	*policyExtension
	t    *testing.T
	dir  string
	tel  *componenttest.Telemetry
	logs *observer.ObservedLogs
	host *statusHost
	mu   sync.Mutex
	time time.Time
}

// newBench writes content as the policy file and makes an extension for it.
func newBench(t *testing.T, content string, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), host: &statusHost{Host: componenttest.NewNopHost()}, time: time.Now()}
	core, logs := observer.New(zapcore.DebugLevel)
	b.logs = logs
	b.tel = componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, b.tel.Shutdown(context.Background())) })
	cfg := createDefaultConfig().(*Config)
	cfg.File = b.path("policy.yaml")
	cfg.StateDirectory = b.path("state")
	b.write("policy.yaml", content)
	for _, c := range change {
		c(cfg)
	}
	require.NoError(t, cfg.Validate())
	set := extension.Settings{ID: component.NewID(metadata.Type), TelemetrySettings: b.tel.NewTelemetrySettings()}
	set.Logger = zap.New(core)
	set.BuildInfo.Version = "1.2.3"
	e, err := newPolicyExtension(set, cfg)
	require.NoError(t, err)
	e.now = b.now
	b.policyExtension = e
	return b
}

// started is a bench whose first policy is in force. Nothing runs by itself.
func started(t *testing.T, content string, change ...func(*Config)) *bench {
	t.Helper()
	b := newBench(t, content, change...)
	require.NoError(t, b.first())
	b.report.host = b.host
	return b
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.time
}

// pass lets time pass and does what is due then.
func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	b.time = b.time.Add(d)
	b.mu.Unlock()
	b.policyExtension.mu.Lock()
	defer b.policyExtension.mu.Unlock()
	b.step(b.now())
}

// look is two polls: one that finds a change, one that finds it complete.
func (b *bench) look() {
	b.pass(b.cfg.ReloadInterval)
	b.pass(maxSettle)
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name, content string) {
	b.t.Helper()
	require.NoError(b.t, os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	require.NoError(b.t, os.WriteFile(b.path(name), []byte(content), 0o600))
}

// touch gives a file the bench's time, plus ahead.
func (b *bench) touch(name string, ahead time.Duration) {
	b.t.Helper()
	f, err := os.OpenFile(b.path(name), os.O_CREATE, 0o644)
	require.NoError(b.t, err)
	require.NoError(b.t, f.Close())
	at := b.now().Add(ahead)
	require.NoError(b.t, os.Chtimes(b.path(name), at, at))
}

// enforcer is a subscriber that keeps what it is told.
type enforcer struct {
	mu      sync.Mutex
	applied []Generation
	changes []telemetry.PolicyChange
	// refuse is the number of rules of the policies that it refuses.
	refuse map[int]bool
}

func (f *enforcer) apply(g Generation) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse[len(g.Policy.Rules)] {
		return errors.New("the kernel says no")
	}
	f.applied = append(f.applied, g)
	return nil
}

func (f *enforcer) changed(c telemetry.PolicyChange) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes = append(f.changes, c)
}

func (f *enforcer) numbers() []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []uint64
	for _, g := range f.applied {
		all = append(all, g.Number)
	}
	return all
}

// rules is the number of rules of the policy that was applied last.
func (f *enforcer) rules() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.applied[len(f.applied)-1].Policy.Rules)
}

func (f *enforcer) kinds() []telemetry.Change {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []telemetry.Change
	for _, c := range f.changes {
		all = append(all, c.Change)
	}
	return all
}

// last is the detail of the last change.
func (f *enforcer) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes[len(f.changes)-1].Detail
}

func (b *bench) subscribe(f *enforcer) (cancel func()) {
	b.t.Helper()
	cancel, err := b.Subscribe(0, f.apply, f.changed)
	require.NoError(b.t, err)
	return cancel
}
