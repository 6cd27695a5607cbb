package connectionapiextension

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weirnet/weir/extension/connectionapiextension/internal/metadata"
	"github.com/weirnet/weir/extension/connectionpolicyextension"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

const (
	oneRule  = "mode: prevent\nrules:\n  - {name: a, action: allow, layer4: {tcp: [22]}}\n"
	twoRules = oneRule + "  - {name: b, action: allow, layer4: {tcp: [443]}}\n"
)

// host has the extensions.
type host struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h *host) GetExtensions() map[component.ID]component.Component { return h.extensions }

// fakeEngine has connections.
type fakeEngine struct {
	mu   sync.Mutex
	live []telemetry.Connection
}

func (e *fakeEngine) Connections(visit func(*telemetry.Connection) bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.live {
		if !visit(&e.live[i]) {
			return nil
		}
	}
	return nil
}

func (e *fakeEngine) Totals() (telemetry.Totals, error) {
	return telemetry.Totals{Since: began, Active: 3, Verdicts: []telemetry.VerdictTotal{
		{Verdict: telemetry.Allowed, Action: telemetry.Allow, Count: 1000},
		{Verdict: telemetry.Blocked, Action: telemetry.Block, Reason: telemetry.ReasonRule, Count: 40},
		{Verdict: telemetry.Blocked, Action: telemetry.Block, Reason: telemetry.ReasonDefault, Count: 2},
		{Verdict: telemetry.Detected, Action: telemetry.Allow, Count: 100},
		{Verdict: telemetry.Detected, Action: telemetry.Block, Count: 7},
	}, Rules: []telemetry.RuleTotal{{Rule: "a", Count: 17}}}, nil
}

func (e *fakeEngine) State() EngineState {
	return EngineState{FlowEntries: 2, FlowCapacity: 100, Interfaces: 1, Generation: 1, Rules: 1, Lost: map[string]uint64{"flow_table_full": 4}}
}

var began = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// connection is the ith, live.
func connection(i int) telemetry.Connection {
	return telemetry.Connection{
		Kind: telemetry.ConnectionStart, ID: uint64(i), Time: began, FirstSeen: began, LastSeen: began, Count: 1,
		Direction: packet.Outbound, Interface: "eth0",
		Tuple: packet.Tuple{
			Source: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), SourcePort: 40000,
			Destination: netip.MustParseAddr("203.0.113.7"), DestinationPort: 443, Protocol: packet.TCP,
		},
		Judgement: telemetry.Judgement{Rule: "a", Generation: 1, Verdict: telemetry.Allowed, Action: telemetry.Allow, Reason: telemetry.ReasonRule},
	}
}

func blocked(i int) telemetry.Connection {
	c := connection(i)
	c.Judgement = telemetry.Judgement{Rule: "b", Verdict: telemetry.Blocked, Action: telemetry.Block, Reason: telemetry.ReasonRule}
	return c
}

// bench is an API with a policy, on a socket of its own.
type bench struct {
	*api
	t      *testing.T
	dir    string
	socket string
	engine *fakeEngine
	logs   *observer.ObservedLogs
	http   *http.Client
	host   *host
}

func newBench(t *testing.T, settings ...map[string]any) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), engine: &fakeEngine{}}
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "policy.yaml"), []byte(oneRule), 0o600))
	b.host = &host{componenttest.NewNopHost(), map[component.ID]component.Component{component.MustNewID("connection_policy"): b.policy()}}
	b.socket = filepath.Join(b.dir, "run", "api.sock")
	conf := confmap.NewFromStringMap(map[string]any{"endpoint": b.socket})
	for _, s := range settings {
		require.NoError(t, conf.Merge(confmap.NewFromStringMap(s)))
	}
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, conf.Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	core, logs := observer.New(zapcore.DebugLevel)
	b.logs = logs
	set := extension.Settings{ID: component.NewID(metadata.Type), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	set.Logger = zap.New(core)
	set.BuildInfo.Version = "1.2.3"
	a, err := newAPI(set, cfg)
	require.NoError(t, err)
	b.api = a
	require.NoError(t, a.Start(t.Context(), b.host))
	t.Cleanup(func() { require.NoError(t, a.Shutdown(context.Background())) })
	t.Cleanup(a.Attach(b.engine))
	b.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", b.socket)
	}}}
	t.Cleanup(b.http.CloseIdleConnections)
	return b
}

// policy is an extension that holds the policy of the bench, with an audit log.
func (b *bench) policy() component.Component {
	b.t.Helper()
	factory := connectionpolicyextension.NewFactory()
	cfg := factory.CreateDefaultConfig()
	require.NoError(b.t, confmap.NewFromStringMap(map[string]any{
		"file": filepath.Join(b.dir, "policy.yaml"), "state_directory": filepath.Join(b.dir, "state"),
		"audit": map[string]any{"path": filepath.Join(b.dir, "log", "audit.log")},
	}).Unmarshal(cfg))
	set := extension.Settings{ID: component.NewID(factory.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	e, err := factory.Create(b.t.Context(), set, cfg)
	require.NoError(b.t, err)
	require.NoError(b.t, e.Start(b.t.Context(), componenttest.NewNopHost()))
	b.t.Cleanup(func() { require.NoError(b.t, e.Shutdown(context.Background())) })
	return e
}

// audit is what the audit log says about calls, once there are so many. It is written
// behind the calls.
func (b *bench) audit(n int) (calls []string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		content, err := os.ReadFile(filepath.Join(b.dir, "log", "audit.log"))
		require.NoError(b.t, err)
		calls = nil
		for line := range strings.Lines(string(content)) {
			if _, text, is := strings.Cut(strings.TrimSpace(line), " call      "); is {
				calls = append(calls, regexp.MustCompile(`process \d+`).ReplaceAllString(text, "process N"))
			}
		}
		return len(calls) >= n
	}, patience, 5*time.Millisecond)
	return calls
}

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// answer is what came back.
type answered struct {
	status int
	header http.Header
	body   []byte
}

// call makes a call and checks its answer against openapi.yaml.
func (b *bench) call(method, path, body string, headers ...string) answered {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, "http://weir"+path, strings.NewReader(body))
	require.NoError(b.t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := b.http.Do(request)
	require.NoError(b.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(b.t, err)
	a := answered{response.StatusCode, response.Header, content}
	b.conforms(method, request.URL.Path, &a)
	return a
}

// get makes a call that succeeds, and reads its answer.
func (b *bench) get(path string, into any) {
	b.t.Helper()
	a := b.call("GET", path, "")
	require.Equal(b.t, http.StatusOK, a.status, "%s: %s", path, a.body)
	a.read(b.t, into)
}

func (a *answered) read(t *testing.T, into any) {
	t.Helper()
	reflect.ValueOf(into).Elem().SetZero()
	decoder := json.NewDecoder(bytes.NewReader(a.body))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(into), "%s", a.body)
}

// openAPI is the description, as JSON.
var openAPI = func() map[string]any {
	var all map[string]any
	if err := json.Unmarshal(openAPIJSON, &all); err != nil {
		panic(err)
	}
	return all
}()

func at(value any, keys ...string) any {
	for _, k := range keys {
		m, _ := value.(map[string]any)
		value = m[k]
		next, _ := value.(map[string]any)
		if ref, ok := next["$ref"].(string); ok {
			value = at(openAPI, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return value
}

var operations = struct {
	mu   sync.Mutex
	seen map[string]bool
}{seen: map[string]bool{}}

// conforms checks an answer against the description.
func (b *bench) conforms(method, path string, a *answered) {
	b.t.Helper()
	if regexp.MustCompile(`^/v1/rules/temporary/.`).MatchString(path) {
		path = "/v1/rules/temporary/{name}"
	}
	operation, ok := at(openAPI, "paths", path, strings.ToLower(method)).(map[string]any)
	if !ok {
		require.Contains(b.t, []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusForbidden}, a.status, "%s %s is not described", method, path)
		return
	}
	status := fmt.Sprint(a.status)
	if operation["responses"].(map[string]any)[status] == nil {
		status = "default"
		require.GreaterOrEqual(b.t, a.status, 400, "%s %s", method, path)
	}
	operations.mu.Lock()
	operations.seen[method+" "+path+" "+status] = true
	operations.mu.Unlock()
	content, _ := at(operation, "responses", status).(map[string]any)["content"].(map[string]any)
	if content == nil {
		require.Empty(b.t, a.body)
		return
	}
	mediaType, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	require.NoError(b.t, err)
	require.Contains(b.t, content, mediaType, "%s %s: %s", method, path, a.body)
	if !strings.HasSuffix(mediaType, "json") {
		return
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.body))
	require.NoError(b.t, err)
	pointer := fmt.Sprintf("/paths/%s/%s/responses/%s", strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(path), strings.ToLower(method), status)
	response, _ := operation["responses"].(map[string]any)[status].(map[string]any)
	if ref, ok := response["$ref"].(string); ok {
		pointer = strings.TrimPrefix(ref, "#")
	}
	pointer += "/content/" + strings.ReplaceAll(mediaType, "/", "~1") + "/schema"
	require.NoError(b.t, schemaAt(b.t, pointer).Validate(value), "%s %s: %s", method, path, a.body)
}

// schemaAt is the schema at a place of the description.
func schemaAt(t *testing.T, pointer string) *jsonschema.Schema {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPIJSON))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	require.NoError(t, compiler.AddResource("openapi.json", value))
	schema, err := compiler.Compile("openapi.json#" + pointer)
	require.NoError(t, err)
	return schema
}
