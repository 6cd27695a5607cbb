package http

import (
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

// The facts are what rules are judged by: a policy says what becomes of requests.
func TestFactsInRules(t *testing.T) {
	const rules = `
default_action: block
on_error: {malformed: block, limit: allow}
rules:
  - {name: api, action: allow, layer7: {http: {hosts: [api.example.com, "::1", bücher.example], paths: ["/v1/**"], methods: [GET], headers: {x-env: [prod]}, versions: ["1.1", "2"]}}}
  - {name: admin, action: block, layer7: {http: {paths: [/admin]}}}
  - {name: rest, action: allow, layer7: {http: {hosts: [www.example.com]}}}
`
	p, _, err := policy.Load(policy.Document{Content: []byte(rules)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, want string }{
		{"as the rule says", "GET /v1/%69tems?x=../.. HTTP/1.1\r\nHost: API.example.com.:8080\r\nX-Env: prod\r\n\r\n", "api"},
		{"an address", "GET /v1 HTTP/1.1\r\nHost: [0:0::1]:8080\r\nX-Env: prod\r\n\r\n", "api"},
		{"IDNA", "GET /v1 HTTP/1.1\r\nHost: B\xc3\xbccher.example\r\nX-Env: prod\r\n\r\n", "api"},
		{"the second value", "GET /v1 HTTP/1.1\r\nHost: api.example.com\r\nX-Env: stage\r\nx-env: prod\r\n\r\n", "api"},
		{"another value", "GET /v1 HTTP/1.1\r\nHost: api.example.com\r\nX-Env: stage\r\n\r\n", ""},
		{"a method in lower case", "get /v1 HTTP/1.1\r\nHost: api.example.com\r\nX-Env: prod\r\n\r\n", "api"},
		{"another version", "GET /v1 HTTP/1.0\r\nHost: api.example.com\r\nX-Env: prod\r\n\r\n", ""},
		{"dots", "GET /v1/../admin HTTP/1.1\r\nHost: www.example.com\r\n\r\n", "admin"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", ""},
		{"a path that cannot be read", "GET /v1/%2e%2e%2fadmin HTTP/1.1\r\nHost: www.example.com\r\n\r\n", "admin"},
		{"a fragment in a path", "GET /v1#/../../admin HTTP/1.1\r\nHost: api.example.com\r\nX-Env: prod\r\n\r\n", "admin"},
		{"a fragment behind a query", "GET /v1?x#/../../admin HTTP/1.1\r\nHost: api.example.com\r\nX-Env: prod\r\n\r\n", "api"},
		{"CONNECT", "CONNECT www.example.com:443 HTTP/1.1\r\n\r\n", "rest"},
		{"a host that cannot be read", "GET / HTTP/1.1\r\nHost: www.example.com/x\r\n\r\n", ""},
		{"smuggling", "GET / HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "admin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := feed(&Config{Headers: p.HeaderNames()}, client(c.text))
			f := policy.Facts{Direction: policy.Outbound, Protocol: 6, Application: policy.Is(policy.AppHTTP), HTTP: d.messages[0].Facts}
			got := ""
			v := p.Walk(&f)
			if v.Rule != nil {
				got = v.Rule.Name
			}
			if got != c.want {
				t.Errorf("%q by %v, want %q", got, v.Reason, c.want)
			}
		})
	}
}

func TestTraceparent(t *testing.T) {
	const id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for _, c := range []struct {
		text  string
		valid bool
	}{
		{"00-" + id + "-" + parent + "-01", true},
		{"00-" + id + "-" + parent + "-00", true},
		{"00-" + id + "-" + parent + "-ff", true},
		{"cc-" + id + "-" + parent + "-01", true},
		{"cc-" + id + "-" + parent + "-01-what the future brings", true},
		{"cc-" + id + "-" + parent + "-01.what", false},
		{"00-" + id + "-" + parent + "-01-", false},
		{"00-" + id + "-" + parent + "-01-x", false},
		{"ff-" + id + "-" + parent + "-01", false},
		{"0-" + id + "-" + parent + "-01", false},
		{"00-" + strings.ToUpper(id) + "-" + parent + "-01", false},
		{"00-" + strings.Repeat("0", 32) + "-" + parent + "-01", false},
		{"00-" + id + "-" + strings.Repeat("0", 16) + "-01", false},
		{"00-" + id + "-" + parent + "-0", false},
		{"00-" + id + "-" + parent + "-0x", false},
		{"00_" + id + "-" + parent + "-01", false},
		{"", false},
	} {
		if got := parseTraceparent(c.text); got.Valid != c.valid || !got.Valid && got != (Traceparent{}) {
			t.Errorf("%q: %+v", c.text, got)
		}
	}
	line := "traceparent: 00-" + id + "-" + parent + "-01\r\n"
	d := feed(&Config{}, client("GET / HTTP/1.1\r\n"+line+"\r\nGET / HTTP/1.1\r\n"+line+line+"\r\n"))
	if !d.messages[0].Trace.Valid || d.messages[2].Trace.Valid {
		t.Error("one is valid, two are not")
	}
}

// Every reason has a text and, but for none, a cause.
func TestReasons(t *testing.T) {
	if len(reasons) != int(Closed)+1 {
		t.Error(len(reasons), "reasons")
	}
	for r := None + 1; int(r) < len(reasons); r++ {
		if r.String() == "" || r.Cause() == 0 {
			t.Error("reason", uint8(r), r)
		}
	}
	for k := Request; k <= Unanswered; k++ {
		if k.String() == "" {
			t.Error("kind", uint8(k))
		}
	}
}
