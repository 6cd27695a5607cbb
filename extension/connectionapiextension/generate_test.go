package connectionapiextension

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weirnet/weir/internal/telemetry"
)

// schemaOf follows references; they may have siblings, which describe.
func schemaOf(schema map[string]any) map[string]any {
	for {
		ref, ok := schema["$ref"].(string)
		if !ok {
			return schema
		}
		schema = at(openAPI, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(map[string]any)
	}
}

// Strings that mean something to one call or another, where a schema says no more of a
// string than that it is one.
var texts = []string{
	"", "a", "x.example", "**.example", "192.0.2.1", "192.0.2.1:443", "[2001:db8::1]:22", "tcp", "udp", "http", "tls", "1.1", "A", "1m", "10m", "720h", "5m", "0",
	"layer4: udp", "{action: allow, layer4: {tcp: 443}}", "ä\u202e", strings.Repeat("x", 300),
}

// valid draws a value that the schema accepts; a meaningful one has the strings that
// the description gives as examples.
func valid(r *rapid.T, schema map[string]any, meaningful bool) any {
	schema = schemaOf(schema)
	if list, ok := schema["enum"].([]any); ok {
		return rapid.SampledFrom(list).Draw(r, "enum")
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		if list, ok := schema[key].([]any); ok {
			return valid(r, rapid.SampledFrom(list).Draw(r, key).(map[string]any), meaningful)
		}
	}
	switch schema["type"] {
	case "boolean":
		return rapid.Bool().Draw(r, "boolean")
	case "integer", "number":
		return rapid.IntRange(numberOr(schema["minimum"], -1<<40), numberOr(schema["maximum"], 1<<40)).Draw(r, "integer")
	case "array":
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(r, "length") {
			list = append(list, valid(r, schema["items"].(map[string]any), meaningful))
		}
		return list
	case "object":
		value := map[string]any{}
		properties, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			if slices.Contains(required, any(name)) || rapid.Bool().Draw(r, "has "+name) {
				value[name] = valid(r, properties[name].(map[string]any), meaningful)
			}
		}
		if more, ok := schema["additionalProperties"].(map[string]any); ok && rapid.Bool().Draw(r, "has more") {
			value[rapid.SampledFrom([]string{"x", "tls.server_name", "dns.name"}).Draw(r, "name")] = valid(r, more, meaningful)
		}
		return value
	}
	if schema["format"] == "date-time" {
		return time.Unix(rapid.Int64Range(0, 4e9).Draw(r, "seconds"), 0).UTC().Format(time.RFC3339)
	}
	if list, ok := schema["examples"].([]any); ok && (meaningful || rapid.Bool().Draw(r, "example")) {
		return rapid.SampledFrom(list).Draw(r, "example")
	}
	if meaningful {
		return "x.example"
	}
	return rapid.OneOf(rapid.SampledFrom(texts), rapid.StringN(0, 20, 40)).Draw(r, "text")
}

func numberOr(value any, otherwise int) int {
	if n, ok := value.(float64); ok {
		return int(n)
	}
	return otherwise
}

// spoilt changes one thing somewhere in a value, after which few schemas accept it.
func spoilt(r *rapid.T, value any) any {
	switch v := value.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		switch what := rapid.IntRange(0, 2).Draw(r, "spoil"); {
		case what == 0 || len(keys) == 0:
			v["no_such_key"] = true
		case what == 1:
			delete(v, rapid.SampledFrom(keys).Draw(r, "key"))
		default:
			key := rapid.SampledFrom(keys).Draw(r, "key")
			v[key] = spoilt(r, v[key])
		}
		return v
	case []any:
		if len(v) > 0 && rapid.Bool().Draw(r, "inside") {
			v[0] = spoilt(r, v[0])
			return v
		}
	}
	return rapid.SampledFrom([]any{nil, 7, -1.5, 1e300, true, []any{}, map[string]any{}, "no such thing", []any{[]any{}}}).Draw(r, "other")
}

// deepClone lets an example be spoilt without the next one's being so.
func deepClone(value any) any {
	switch v := value.(type) {
	case map[string]any:
		c := map[string]any{}
		for key, inner := range v {
			c[key] = deepClone(inner)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, inner := range v {
			c[i] = deepClone(inner)
		}
		return c
	}
	return value
}

// accepts says whether a schema of the description accepts a value as it is sent.
func accepts(t *testing.T, compiled map[string]*jsonschema.Schema, pointer string, body []byte) bool {
	t.Helper()
	if compiled[pointer] == nil {
		compiled[pointer] = schemaAt(t, pointer)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	require.NoError(t, err)
	return compiled[pointer].Validate(value) == nil
}

// asText writes a parameter's value as a query has it.
func asText(value any) string {
	if list, ok := value.([]any); ok {
		var all []string
		for _, v := range list {
			all = append(all, fmt.Sprint(v))
		}
		return strings.Join(all, ",")
	}
	return fmt.Sprint(value)
}

// TestGeneratedCalls makes calls that openapi.yaml accepts, and such with one thing
// spoilt. Each answer is as described and none a failure of the server's; a body of the
// wrong shape is always refused, one of the right shape never for its shape.
func TestGeneratedCalls(t *testing.T) {
	b := newBench(t)
	b.engine.live = []telemetry.Connection{connection(1), blocked(2), connection(3)}
	var calls []string
	for path, operations := range openAPI["paths"].(map[string]any) {
		for method := range operations.(map[string]any) {
			calls = append(calls, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(calls)
	compiled := map[string]*jsonschema.Schema{}
	statuses := map[string]map[int]int{}
	bodies := map[bool]int{}
	for _, call := range calls { // the examples, as they stand there
		method, path, _ := strings.Cut(call, " ")
		content, _ := at(openAPI, "paths", path, strings.ToLower(method), "requestBody", "content").(map[string]any)
		media, _ := content["application/json"].(map[string]any)
		if example := media["example"]; example != nil {
			text, err := json.Marshal(example)
			require.NoError(t, err)
			statuses[call] = map[int]int{b.call(method, path, string(text)).status: 1}
		}
	}
	policies := 0
	check := func(r *rapid.T) {
		call := rapid.SampledFrom(calls).Draw(r, "call")
		method, path, _ := strings.Cut(call, " ")
		operation := at(openAPI, "paths", path, strings.ToLower(method)).(map[string]any)
		meaningful := rapid.Bool().Draw(r, "meaningful")
		spoil := rapid.Bool().Draw(r, "spoil")
		query, headers, target := url.Values{}, []string{}, path
		parameters, _ := operation["parameters"].([]any)
		wrong := false // a parameter that the description does not accept
		for _, p := range parameters {
			p := schemaOf(p.(map[string]any))
			name, schema := p["name"].(string), schemaOf(p["schema"].(map[string]any))
			value := asText(valid(r, schema, meaningful))
			bounded := schema["type"] == "integer" || schema["type"] == "boolean" || schema["enum"] != nil
			if spoil && bounded && rapid.Bool().Draw(r, "spoil "+name) {
				value = rapid.SampledFrom([]string{"x", "1.5", "-1", "99999999999999999999", "TRUE!", "0x10"}).Draw(r, "value")
				wrong = true
			} else if p["in"] != "path" && !rapid.Bool().Draw(r, "give "+name) {
				continue
			}
			switch p["in"] {
			case "query":
				query.Set(name, value)
			case "header":
				if !strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
					headers = append(headers, name, value)
				}
			case "path":
				if rapid.Bool().Draw(r, "existing") {
					value = "seed"
					b.call("POST", "/v1/rules/temporary", `{"rule": {"name": "seed", "action": "block", "layer4": "udp"}, "for": "1h"}`)
				}
				target = strings.ReplaceAll(target, "{"+name+"}", "s"+url.PathEscape(strings.TrimPrefix(value, "s")))
			}
		}
		if len(query) > 0 {
			target += "?" + query.Encode()
		}
		if path == "/v1/events" {
			if status := b.begins(target, headers); wrong == (status == http.StatusOK) && wrong || status >= 500 {
				r.Fatalf("%s %s: %d", method, target, status)
			}
			return
		}
		body, isJSON, right := "", false, false
		content, _ := at(operation, "requestBody", "content").(map[string]any)
		if media, ok := content["application/json"].(map[string]any); ok && content["application/yaml"] == nil {
			value := valid(r, media["schema"].(map[string]any), meaningful)
			if example, ok := media["example"].(map[string]any); ok && meaningful {
				value = deepClone(example)
			}
			if spoil && !wrong {
				value = spoilt(r, value)
			}
			text, err := json.Marshal(value)
			require.NoError(t, err)
			body, isJSON = string(text), true
			pointer := strings.TrimPrefix(media["schema"].(map[string]any)["$ref"].(string), "#")
			right = accepts(t, compiled, pointer, text)
			bodies[right]++
		} else if content != nil {
			body = rapid.SampledFrom([]string{oneRule, twoRules, "mode: detect\n", "{}", "[", "mode: {}\n", `{"mode": "detect", "rules": [{"name": "j", "action": "allow", "layer4": "tcp"}]}`}).Draw(r, "policy")
		}
		if strings.HasPrefix(path, "/v1/policy/") && rapid.Bool().Draw(r, "waits") {
			policies++
			b.call("PUT", "/v1/policy?confirm_within=1h", fmt.Sprintf("%s# %d\n", oneRule, policies), "If-Match", "*")
		}
		a := b.call(method, target, body, headers...)
		switch {
		case a.status >= 500:
			r.Fatalf("%s %s %s: %d %s", method, target, body, a.status, a.body)
		case wrong && a.status < 400:
			r.Fatalf("%s %s is not as described, and answered by %d", method, target, a.status)
		case isJSON && !right && a.status < 400:
			r.Fatalf("%s %s: the body %s is not as described, and answered by %d %s", method, target, body, a.status, a.body)
		case isJSON && right && a.status == http.StatusBadRequest && strings.Contains(string(a.body), "read the body as JSON"):
			r.Fatalf("%s %s: the body %s is as described, and answered by %s", method, target, body, a.body)
		}
		if statuses[call] == nil {
			statuses[call] = map[int]int{}
		}
		statuses[call][a.status]++
	}
	unsuccessful := func() (list []string) {
		for _, call := range calls {
			if call != "GET /v1/events" && statuses[call][200]+statuses[call][201]+statuses[call][204] == 0 {
				list = append(list, call)
			}
		}
		return list
	}
	// Few drawn calls are right in everything, so it may take more than ten rounds.
	for round := 0; round < 10 || round < 100 && (len(unsuccessful()) > 0 || bodies[true] == 0 || bodies[false] == 0); round++ {
		rapid.Check(t, check)
	}
	require.Empty(t, unsuccessful(), "they never succeeded")
	require.Positive(t, bodies[true])
	require.Positive(t, bodies[false])
	for call, n := range statuses {
		t.Log(call, n)
	}
}

// begins is the status of a call whose answer does not end.
func (b *bench) begins(target string, headers []string) int {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://weir"+target, nil)
	require.NoError(b.t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := b.http.Do(request)
	require.NoError(b.t, err)
	defer response.Body.Close()
	return response.StatusCode
}
