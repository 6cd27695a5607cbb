package connectionapiextension

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/weirnet/weir/internal/apiclient"
	"github.com/weirnet/weir/internal/telemetry"
)

func TestPolicy(t *testing.T) {
	b := newBench(t)
	var p apiclient.Policy
	b.get("/v1/policy", &p)
	assert.Equal(t, "prevent", p.Mode)
	assert.Equal(t, oneRule, p.Document)
	assert.Equal(t, 1, p.Rules)
	assert.True(t, p.Writable)
	tag := fmt.Sprintf("%q", p.ETag)
	assert.Equal(t, http.StatusNotModified, b.call("GET", "/v1/policy", "", "If-None-Match", tag).status)
	assert.Equal(t, oneRule, string(b.call("GET", "/v1/policy", "", "Accept", "application/yaml").body))

	refused := func(status int, a answered) apiclient.Problem {
		t.Helper()
		assert.Equal(t, status, a.status, "%s", a.body)
		var problem apiclient.Problem
		a.read(t, &problem)
		return problem
	}
	refused(http.StatusPreconditionRequired, b.call("PUT", "/v1/policy", twoRules))
	refused(http.StatusBadRequest, b.call("PUT", "/v1/policy", twoRules, "If-Match", "x"))
	refused(http.StatusBadRequest, b.call("PUT", "/v1/policy?dry_run=perhaps", twoRules))
	refused(http.StatusBadRequest, b.call("PUT", "/v1/policy?confirm_within=1ns", twoRules, "If-Match", "*"))
	refused(http.StatusPreconditionFailed, b.call("PUT", "/v1/policy", twoRules, "If-Match", `"x"`))
	problem := refused(http.StatusUnprocessableEntity, b.call("PUT", "/v1/policy", "mode: prevnt\nrulse: []\n", "If-Match", tag))
	require.Len(t, problem.Errors, 2)
	assert.Equal(t, 2, problem.Errors[0].Line)
	assert.Equal(t, "rulse", problem.Errors[0].Key)
	assert.Equal(t, "mode", problem.Errors[1].Key)
	assert.Contains(t, problem.Errors[1].Hint, "prevent")
	refused(http.StatusUnprocessableEntity, b.call("PUT", "/v1/policy", "mode: prevent\nrules: [{name: a, action: block}]\n", "If-Match", tag))

	b.engine.live = []telemetry.Connection{connection(1), connection(2), connection(3)}
	b.engine.live[0].Kind = telemetry.ConnectionUpdate // as the engine has them
	b.engine.live[1].Tuple.DestinationPort = 22
	b.engine.live[2].Judgement.Rule, b.engine.live[2].Judgement.Reason = "weir:export", telemetry.ReasonSafeguard
	var done apiclient.Replaced
	a := b.call("PUT", "/v1/policy?dry_run=true", twoRules)
	a.read(t, &done)
	assert.Equal(t, []string{"+ rule 2 b: allow layer4.tcp.destination_ports 443"}, done.Changes)
	assert.Empty(t, done.Cuts)
	a = b.call("PUT", "/v1/policy?dry_run=true", oneRule)
	a.read(t, &done)
	assert.Equal(t, 1, done.CutCount)
	assert.Equal(t, "allowed   outbound tcp 192.0.2.1:40000 → 203.0.113.7:443 eth0 rule=a", done.Cuts[0])

	a = b.call("PUT", "/v1/policy?confirm_within=1h", twoRules, "If-Match", tag)
	a.read(t, &done)
	require.Equal(t, http.StatusOK, a.status)
	assert.WithinDuration(t, time.Now().Add(time.Hour), done.Returns, time.Minute)
	b.get("/v1/policy", &p)
	assert.EqualValues(t, 1, p.Returns.Generation)
	assert.Equal(t, twoRules, p.Document)
	assert.Equal(t, http.StatusOK, b.call("POST", "/v1/policy/rollback", "").status)
	refused(http.StatusConflict, b.call("POST", "/v1/policy/rollback", ""))
	refused(http.StatusConflict, b.call("POST", "/v1/policy/confirm", ""))
	b.call("PUT", "/v1/policy?confirm_within=1h", twoRules, "If-Match", tag)
	assert.Equal(t, http.StatusOK, b.call("POST", "/v1/policy/confirm", "").status)
	content, err := os.ReadFile(filepath.Join(b.dir, "policy.yaml"))
	require.NoError(t, err)
	assert.Equal(t, twoRules, string(content))

	by := fmt.Sprintf("user %d (process N): ", os.Geteuid())
	calls := b.audit(13)
	assert.Contains(t, calls, by+"PUT /v1/policy done")
	assert.Contains(t, calls, by+"POST /v1/policy/rollback done")
	assert.Contains(t, calls, by+"POST /v1/policy/confirm refused: no change waits to be confirmed")
	for _, l := range b.logs.All() {
		assert.NotContains(t, fmt.Sprint(l.Message, l.ContextMap()), "rulse", "the log shows nothing of a policy")
	}
}

func TestRules(t *testing.T) {
	b := newBench(t)
	b.Connections([]telemetry.Connection{connection(1)})
	require.Eventually(t, func() bool { return !b.profile.LastMatch("a").IsZero() }, patience, time.Millisecond)
	a := b.call("POST", "/v1/rules/temporary", `{"rule": {"name": "dns", "action": "block", "layer4": {"udp": [53]}}, "for": "10m"}`)
	require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
	assert.Equal(t, "/v1/rules/temporary/temporary:dns", a.header.Get("Location"))
	a = b.call("POST", "/v1/rules/temporary", `{"rule": "{action: allow, layer4: tcp}", "for": "10m"}`)
	require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
	var temporary []apiclient.TemporaryRule
	b.get("/v1/rules/temporary", &temporary)
	require.Len(t, temporary, 2)
	assert.Equal(t, "temporary:dns", temporary[1].Name)

	var rules apiclient.Rules
	b.get("/v1/rules", &rules)
	last := rules.Rules[len(rules.Rules)-3:]
	assert.True(t, rules.Rules[0].Safeguard)
	assert.True(t, last[0].Temporary)
	assert.Equal(t, "temporary:dns", last[1].Name)
	assert.Equal(t, apiclient.Rule{Name: "a", Action: "allow", Line: 3, Matches: 17, LastMatch: began}, last[2])
	b.get("/v1/rules?limit=1&offset=1", &rules)
	assert.Len(t, rules.Rules, 1)
	b.get("/v1/rules?offset=1000", &rules)
	assert.Empty(t, rules.Rules)

	assert.Equal(t, http.StatusNoContent, b.call("DELETE", "/v1/rules/temporary/dns", "").status)
	assert.Equal(t, http.StatusNotFound, b.call("DELETE", "/v1/rules/temporary/dns", "").status)
	for body, status := range map[string]int{
		`{"rule": {"action": "permit"}, "for": "10m"}`:        http.StatusUnprocessableEntity,
		`{"rule": {"action": "allow"}, "for": "10"}`:          http.StatusBadRequest,
		`{"rule": {"action": "allow"}, "for": "1ns"}`:         http.StatusUnprocessableEntity,
		`{"rule": {"action": "allow"}, "for": "10m", "x": 1}`: http.StatusBadRequest,
		`{"rule": {"action": "allow"}, "for": "10m"} {}`:      http.StatusBadRequest,
		`{"for": "10m"}`: http.StatusUnprocessableEntity,
		`{"rule": ` + strings.Repeat("[", 100_000):                             http.StatusBadRequest,
		`{"rule": "` + strings.Repeat("[", 60_000) + `", "for": "1m"}`:         http.StatusUnprocessableEntity,
		`{"rule": "` + strings.Repeat("a", maxSmallBody) + `", "for": "1m"}`:   http.StatusRequestEntityTooLarge,
		`{"rule": "` + strings.Repeat("a", maxSmallBody/2) + `", "for": "1m"}`: http.StatusUnprocessableEntity,
		``: http.StatusBadRequest,
	} {
		a := b.call("POST", "/v1/rules/temporary", body)
		assert.Equal(t, status, a.status, "%.100s: %s", body, a.body)
	}
}

func TestConnections(t *testing.T) {
	b := newBench(t)
	for i := range 5 {
		b.engine.live = append(b.engine.live, connection(i+1), blocked(i+101))
	}
	var page apiclient.Connections
	var ids []uint64
	path := "/v1/connections?verdict=allowed&limit=2"
	for next := path; next != ""; {
		b.get(next, &page)
		assert.EqualValues(t, 5, page.Total)
		for _, c := range page.Connections {
			ids = append(ids, c.ID)
		}
		next = ""
		if page.Next != "" {
			next = path + "&cursor=" + page.Next
		}
		page.Next = ""
	}
	assert.Equal(t, []uint64{5, 4, 3, 2, 1}, ids)
	for query, want := range map[string]int{
		"": 10, "address=192.0.2.3": 1, "address=203.0.113.0/24,!192.0.2.3": 9, "rule=b": 5, "rule=a&rule=b": 10, "rule=c": 0, "verdict=pending": 0,
	} {
		b.get("/v1/connections?"+query, &page)
		assert.EqualValues(t, want, page.Total, query)
	}
	b.get("/v1/connections?rule=b&address=192.0.2.101", &page)
	assert.Equal(t, apiclient.Connection{
		ID: 101, Direction: "outbound", Transport: "tcp", Interface: "eth0", Verdict: "blocked", Action: "block", Reason: "rule", Rule: "b",
		Source: apiclient.End{Address: "192.0.2.101", Port: 40000}, Destination: apiclient.End{Address: "203.0.113.7", Port: 443},
		FirstSeen: began, LastSeen: began,
	}, page.Connections[0])
	for _, query := range []string{
		"limit=0", "limit=1001", "cursor=x", "verdict=refused", "address=1.2.3", "address=group:x", "rule=" + strings.Repeat("a,", 300),
	} {
		assert.Equal(t, http.StatusBadRequest, b.call("GET", "/v1/connections?"+query, "").status, query)
	}
	assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, b.status("GET", "/v1/connections?rule="+strings.Repeat("a", 100_000)))
}

// status is that of an answer which is not the API's own.
func (b *bench) status(method, path string) int {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, "http://weir"+path, nil)
	require.NoError(b.t, err)
	response, err := b.http.Do(request)
	require.NoError(b.t, err)
	response.Body.Close()
	return response.StatusCode
}

func TestStatistics(t *testing.T) {
	b := newBench(t)
	end := connection(1)
	end.Kind, end.Source.Bytes, end.Destination.Bytes = telemetry.ConnectionEnd, 100, 900
	detected := blocked(3)
	detected.Judgement.Verdict = telemetry.Detected
	b.Connections([]telemetry.Connection{connection(1), blocked(2), blocked(2), detected, end})
	b.Exchanges([]telemetry.Exchange{{Kind: telemetry.DNSQuery, DNS: &telemetry.DNSExchange{Name: "a.example"}}})
	var s apiclient.Statistics
	require.Eventually(t, func() bool {
		b.get("/v1/statistics?window=1h", &s)
		return len(s.Top.Names) == 1
	}, patience, 10*time.Millisecond)
	assert.EqualValues(t, 3, s.Active)
	assert.Equal(t, began, s.Since)
	assert.EqualValues(t, 42, s.Blocked, "what was let through in mode detect was not blocked")
	assert.EqualValues(t, 7, s.WouldBlock)
	assert.Equal(t, apiclient.Top{Key: "192.0.2.2", Counts: apiclient.Counts{Connections: 2, Blocked: 2}}, s.Top.Sources[0])
	assert.Equal(t, []apiclient.Top{{Key: "tcp/443", Counts: apiclient.Counts{Connections: 4, Blocked: 2, WouldBlock: 1, Bytes: 1000}}}, s.Top.Ports)
	b.get("/v1/statistics?by=bytes&top=1", &s)
	assert.Equal(t, "192.0.2.1", s.Top.Sources[0].Key)
	for _, query := range []string{"window=1s", "window=2h", "window=x", "by=name", "top=0", "top=101"} {
		assert.Equal(t, http.StatusBadRequest, b.call("GET", "/v1/statistics?"+query, "").status, query)
	}
}

func TestHealth(t *testing.T) {
	b := newBench(t)
	var h apiclient.Health
	b.get("/v1/health", &h)
	assert.Equal(t, apiclient.Health{
		Status: "ok", Problems: []string{}, Version: "1.2.3", Generation: 1, Mode: "prevent", Rules: 1, Interfaces: 1,
		Flows: 2, FlowsMost: 100, Lost: map[string]uint64{"flow_table_full": 4},
	}, h)
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "policy.yaml"), []byte("mode: no\n"), 0o600))
	require.Eventually(t, func() bool {
		b.get("/v1/health", &h)
		return h.Status == "degraded"
	}, patience, 50*time.Millisecond)
	assert.Contains(t, h.Problems[0], "policy.yaml:1:7: mode")
	b.Attach(b.engine)()
	b.get("/v1/health", &h)
	assert.Equal(t, "degraded", h.Status)
	assert.Equal(t, http.StatusServiceUnavailable, b.call("GET", "/v1/connections", "").status)
}

func TestEvaluate(t *testing.T) {
	b := newBench(t)
	a := b.call("POST", "/v1/evaluate", `{"direction": "inbound", "source": "192.0.2.1:4000", "destination": "192.0.2.2:22"}`)
	var e apiclient.Explanation
	a.read(t, &e)
	assert.Equal(t, "allow", e.Verdict)
	assert.Equal(t, "a", e.Rule)
	assert.True(t, e.Steps[len(e.Steps)-1].Ends)
	for body, status := range map[string]int{
		`{"direction": "up", "transport": "tcp"}`: http.StatusUnprocessableEntity,
		`{"destination": "192.0.2.2:22"}`:         http.StatusUnprocessableEntity,
		`{"colour": 1}`:                           http.StatusBadRequest,
		`[]`:                                      http.StatusBadRequest,
		`null`:                                    http.StatusBadRequest,
		`{"direction": null}`:                     http.StatusBadRequest,
		`{"tls": {"server_name": null}}`:          http.StatusBadRequest,
		`{"names": ["a.example", null]}`:          http.StatusBadRequest,
		strings.Repeat(`{"http":`, 20_000):        http.StatusBadRequest,
	} {
		a := b.call("POST", "/v1/evaluate", body)
		if status == http.StatusUnprocessableEntity && a.status == http.StatusOK {
			continue // nothing asks for what is missing
		}
		assert.Equal(t, status, a.status, "%.100s: %s", body, a.body)
	}
}

func TestNoSuchCall(t *testing.T) {
	b := newBench(t)
	assert.Equal(t, http.StatusNotFound, b.call("GET", "/v2/policy", "").status)
	a := b.call("DELETE", "/v1/policy", "")
	assert.Equal(t, http.StatusMethodNotAllowed, a.status)
	assert.Equal(t, "GET, PUT", a.header.Get("Allow"))
	assert.Equal(t, http.StatusForbidden, b.call("POST", "/v1/policy/confirm", "", "Sec-Fetch-Site", "cross-site").status)
	assert.Equal(t, http.StatusOK, b.call("GET", "/openapi.yaml", "").status)
	assert.True(t, bytes.Equal(openAPIJSON, b.call("GET", "/openapi.json", "").body))
}

// The description has the calls that there are, and the calls are as described.
func TestDescription(t *testing.T) {
	described := map[string]bool{}
	for path, operations := range openAPI["paths"].(map[string]any) {
		for method := range operations.(map[string]any) {
			described[strings.ToUpper(method)+" "+path] = true
		}
	}
	for _, r := range (&api{cfg: createDefaultConfig().(*Config)}).routes() {
		assert.True(t, described[r.method+" "+r.path], "%s %s is not described", r.method, r.path)
		delete(described, r.method+" "+r.path)
	}
	assert.Empty(t, described, "there are no such calls")
	for name := range at(openAPI, "components", "schemas").(map[string]any) {
		schemaAt(t, "/components/schemas/"+name)
	}
	var names []string
	for _, v := range openAPI["paths"].(map[string]any)["/v1/events"].(map[string]any)["get"].(map[string]any)["parameters"].([]any)[0].(map[string]any)["schema"].(map[string]any)["items"].(map[string]any)["enum"].([]any) {
		names = append(names, v.(string))
	}
	assert.Equal(t, eventNames, names)
}
