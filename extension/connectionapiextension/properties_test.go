package connectionapiextension

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weirnet/weir/internal/telemetry"
)

// TestRandomCalls makes calls of all kinds, right and wrong, by the description.
// Each is answered as described, none by a failure of the server's.
func TestRandomCalls(t *testing.T) {
	b := newBench(t)
	b.engine.live = []telemetry.Connection{connection(1), blocked(2), connection(3)}
	var calls []string
	for path, operations := range openAPI["paths"].(map[string]any) {
		for method := range operations.(map[string]any) {
			if path != "/v1/events" { // which does not end
				calls = append(calls, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(calls)
	texts := []string{
		"", "0", "1", "-1", "99999999999999999999", "true", "blocked", "allowed", "a", "temporary:x", "192.0.2.0/24", "!192.0.2.1", "5m", "1h30m", "bytes",
		"*", `"x"`, "\x00", "../..", "%2e%2e", "ä", "a,b,,", strings.Repeat("x", 1000), "{}", "[]", "null", "mode: detect\n", oneRule, twoRules,
		`{"rule": {"action": "allow"}, "for": "1m"}`, `{"rule": {"name": "x", "action": "block", "layer4": "udp"}, "for": "2s"}`,
		`{"direction": "inbound", "source": "192.0.2.1:1", "destination": "192.0.2.2:22"}`, `{"direction": 7}`, `{"rule": null, "for": "1m"}`,
	}
	text := rapid.OneOf(rapid.SampledFrom(texts), rapid.StringN(0, 40, 80))
	statuses := map[int]int{}
	rapid.Check(t, func(r *rapid.T) {
		method, path, _ := strings.Cut(rapid.SampledFrom(calls).Draw(r, "call"), " ")
		operation := at(openAPI, "paths", path, strings.ToLower(method)).(map[string]any)
		query, headers := url.Values{}, []string{}
		parameters, _ := operation["parameters"].([]any)
		for i := range parameters {
			p, _ := parameters[i].(map[string]any)
			if ref, ok := p["$ref"].(string); ok {
				p = at(openAPI, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(map[string]any)
			}
			if !rapid.Bool().Draw(r, "give") {
				continue
			}
			name, value := p["name"].(string), text.Draw(r, "value")
			switch p["in"] {
			case "query":
				query.Set(name, value)
			case "header":
				if !strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
					headers = append(headers, name, value)
				}
			}
		}
		target := strings.ReplaceAll(path, "{name}", "x"+url.PathEscape(text.Draw(r, "name")))
		if len(query) > 0 {
			target += "?" + query.Encode()
		}
		body := ""
		if operation["requestBody"] != nil {
			body = text.Draw(r, "body")
		}
		a := b.call(method, target, body, headers...)
		if a.status >= 500 {
			r.Fatalf("%s %s: %d %s", method, target, a.status, a.body)
		}
		statuses[a.status]++
	})
	require.Positive(t, statuses[http.StatusOK])
	t.Log(statuses)
}

// What has the schema of a question or a rule is taken; the server's types and the
// description have the same keys.
func TestRequestBodies(t *testing.T) {
	for name, example := range map[string]string{
		"NewTemporaryRule": `{"rule": {"action": "allow"}, "for": "10m"}`,
		"Question": `{"direction": "outbound", "source": "192.0.2.1:1", "destination": "192.0.2.2:443", "transport": "tcp", "icmp_type": "", "icmp_code": "",
			"age": "5m", "loopback": true, "kept": true, "names": ["a.example"], "application": "http", "absent": [], "unobtainable": {},
			"http": {"host": "a", "path": "/", "method": "GET", "headers": {"x": ["y"]}, "version": "1.1"},
			"tls": {"server_name": "a", "version": "1.3", "ech": false, "certificate": {"subject_names": [], "issuer_names": [], "issuer_organizations": [],
			"authority_sha256": [], "not_before": "2026-01-01T00:00:00Z", "not_after": "2026-01-01T00:00:00Z", "self_signed": false}},
			"dns": {"name": "a", "type": "A"}, "ssh": {"public_key": "SHA256:x", "software": "x"}}`,
	} {
		var value any
		require.NoError(t, json.NewDecoder(strings.NewReader(example)).Decode(&value))
		require.NoError(t, schemaAt(t, "/components/schemas/"+name).Validate(value))
	}
	b := newBench(t)
	schema := at(openAPI, "components", "schemas", "Question", "properties").(map[string]any)
	for key := range schema {
		a := b.call("POST", "/v1/evaluate", `{"`+key+`": 17}`)
		require.NotContains(t, string(a.body), "unknown field", key)
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"address=192.0.2.0/24,!192.0.2.1&name=**.example", "event=weir.dns.query&verdict=blocked&rule=a", "name=..&address=::ffff:1.2.3.4-1.2.3.9"} {
		f.Add(s)
	}
	c, x := connection(1), query("a.example")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		filter, err := parseFilter(values)
		if err != nil {
			return
		}
		filter.passes(&event{connection: &c})
		filter.passes(&event{exchange: &x})
	})
}
