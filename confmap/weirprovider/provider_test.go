package weirprovider

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a provider with a file.
type bench struct {
	*provider
	t      *testing.T
	path   string
	log    *observer.ObservedLogs
	events chan *confmap.ChangeEvent
}

func newBench(t *testing.T, text string) *bench {
	t.Helper()
	core, log := observer.New(zap.ErrorLevel)
	p := NewFactory().Create(confmap.ProviderSettings{Logger: zap.New(core)}).(*provider)
	p.interval = 5 * time.Millisecond
	b := &bench{provider: p, t: t, path: filepath.Join(t.TempDir(), "weir.yaml"), log: log, events: make(chan *confmap.ChangeEvent, 1)}
	b.write(text)
	t.Cleanup(func() { require.NoError(t, p.Shutdown(context.Background())) })
	return b
}

// write replaces the file at once, as editors do.
func (b *bench) write(text string) {
	b.t.Helper()
	require.NoError(b.t, os.WriteFile(b.path+".new", []byte(text), 0o600))
	require.NoError(b.t, os.Rename(b.path+".new", b.path))
}

func (b *bench) retrieve() map[string]any {
	b.t.Helper()
	r, err := b.Retrieve(b.t.Context(), "weir:"+b.path, func(e *confmap.ChangeEvent) { b.events <- e })
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, r.Close(context.Background())) })
	raw, err := r.AsRaw()
	require.NoError(b.t, err)
	return raw.(map[string]any)
}

const (
	rules = "mode: detect\nrules: [{name: web, action: allow, layer4: {tcp: 443}}]\n"
	otel  = "otel: {endpoint: 'collector:4317', signals: logs}\n"
)

func TestScheme(t *testing.T) {
	b := newBench(t, rules)
	assert.Equal(t, "weir", b.Scheme())
	for uri, want := range map[string]string{
		"file:/x":    "does not begin with weir:",
		"weir:":      "names no file; accepted: weir:/etc/weir/weir.yaml",
		"weir:?x":    "names no file",
		"weir:/x?yz": `has the option "yz"; accepted: weir:/etc/weir/weir.yaml, and for trials weir:weir.yaml?allow_insecure_files`,
	} {
		_, err := b.Retrieve(t.Context(), uri, nil)
		assert.ErrorContains(t, err, want, uri)
	}
}

func TestRetrieve(t *testing.T) {
	b := newBench(t, rules+otel)
	config := b.retrieve()
	assert.Equal(t, map[string]any{"connection_policy": map[string]any{"file": b.path, "one_file": true}}, config["extensions"])
	assert.Equal(t, map[string]any{"otlp_grpc/otel": map[string]any{"endpoint": "collector:4317"}}, config["exporters"])
}

func TestRetrieveRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"otel: {endpoint: 'collector:4317', signal: logs}": `weir.yaml:1:44: otel.signal: unknown key "signal"; accepted: endpoint, protocol, headers, tls, signals; did you mean signals?`,
		"oteel: {}": "did you mean otel?",
	} {
		b := newBench(t, text)
		_, err := b.Retrieve(t.Context(), "weir:"+b.path, nil)
		assert.ErrorContains(t, err, want)
	}
	b := newBench(t, rules)
	_, err := b.Retrieve(t.Context(), "weir:/nonexistent/weir.yaml", nil)
	require.ErrorContains(t, err, "/nonexistent")
	require.NoError(t, os.Chmod(b.path, 0o644))
	_, err = b.Retrieve(t.Context(), "weir:"+b.path, nil)
	require.ErrorContains(t, err, "weir.yaml?allow_insecure_files for a trial")
	r, err := b.Retrieve(t.Context(), "weir:"+b.path+"?allow_insecure_files", nil)
	require.NoError(t, err)
	conf, err := r.AsConf()
	require.NoError(t, err)
	assert.Equal(t, true, conf.Get("extensions::connection_policy::allow_insecure_files"))
}

// What is wrong with the policy is the extension's to tell: it has the last good one.
func TestRetrieveLeavesThePolicy(t *testing.T) {
	b := newBench(t, "mode: maybe\nrules: x\n"+otel)
	assert.Contains(t, b.retrieve()["exporters"], "otlp_grpc/otel")
}

func TestKafkaIsNotInEveryDistribution(t *testing.T) {
	b := newBench(t, rules+"event_publisher:\n  kafka: {brokers: 'kafka:9092'}\n")
	known := links
	t.Cleanup(func() { links = known })
	links = func(module string) bool { return module != kafkaModule }
	_, err := b.Retrieve(t.Context(), "weir:"+b.path, nil)
	require.ErrorContains(t, err, "weir.yaml:4: event_publisher.kafka: this distribution has no exporter for Kafka; bin/weir-wide has it")
	links = func(string) bool { return true }
	assert.Contains(t, b.retrieve()["exporters"], "kafka/events")
}

func (b *bench) quiet(what string) {
	b.t.Helper()
	select {
	case <-b.events:
		b.t.Fatalf("a restart: %s", what)
	case <-time.After(100 * time.Millisecond):
	}
}

func TestWatch(t *testing.T) {
	b := newBench(t, rules+otel)
	b.retrieve()
	b.quiet("nothing changed")
	b.write("mode: prevent\n" + otel)
	b.quiet("another policy")
	b.write(otel + "mode: {\n")
	b.quiet("what cannot be read")
	b.write(rules + "otel: {endpoint: 'collector'}\n")
	b.quiet("an endpoint without a port")
	require.NoError(t, os.Remove(b.path))
	b.quiet("no file")
	told := b.log.All()
	require.Len(t, told, 3, "each problem is told once")
	assert.Contains(t, told[1].ContextMap()["error"], `"collector" has no port`)
	b.write("# the same\n" + otel + rules)
	b.quiet("other words for the same")

	b.write(rules + "otel: {endpoint: 'another:4317', signals: logs}\n")
	select {
	case e := <-b.events:
		require.NoError(t, e.Error)
	case <-time.After(10 * time.Second):
		t.Fatal("no restart after a change of otel")
	}
	b.write(rules)
	b.quiet("it is said once; then the file is to be read again")
	assert.NotContains(t, b.retrieve()["exporters"], "otlp_grpc/otel")
}

// A restart in the middle of writing would read half of the file.
func TestWatchWaits(t *testing.T) {
	w := &watcher{log: zap.NewNop(), source: source{path: filepath.Join(t.TempDir(), "weir.yaml")}}
	put := func(text string) { require.NoError(t, os.WriteFile(w.source.path, []byte(text), 0o600)) }
	put(rules)
	assert.False(t, w.look(), "seen for the first time")
	put(rules + otel[:10])
	assert.False(t, w.look(), "half of it")
	put(rules + otel)
	assert.False(t, w.look(), "whole, but only now")
	assert.True(t, w.look(), "still the same")
	assert.False(t, w.look(), "it was told")
}

func TestShutdownDoesNotWaitForever(t *testing.T) {
	b := newBench(t, rules+otel)
	full := make(chan struct{})
	_, err := b.Retrieve(t.Context(), "weir:"+b.path, func(*confmap.ChangeEvent) { <-full })
	require.NoError(t, err)
	b.write(rules)
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, b.Shutdown(ctx), "nobody takes its last change")
	close(full)
}

func TestNoSecretsInErrors(t *testing.T) {
	b := newBench(t, "otel: {endpoint: 'https://weir:hunter2@collector:4318', protocol: http}\nevent_publisher: {kafka: {brokers: 'a:1', sasl: {mechanism: X, username: u, password: hunter3}}}")
	_, err := b.Retrieve(t.Context(), "weir:"+b.path, nil)
	require.Error(t, err)
	assert.False(t, strings.Contains(err.Error(), "hunter"), err.Error())
}
