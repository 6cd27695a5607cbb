package policy_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

func TestQuestion(t *testing.T) {
	const rules = `
rules:
- {name: ssh, action: allow, direction: inbound, layer3: {source: 192.0.2.0/24}, layer4: {tcp: 22}}
- {name: ping, action: allow, layer4: {icmp: {types: echo-request}}}
- {name: api, action: allow, layer7: {http: {hosts: api.example, paths: /v1/**, methods: GET, headers: {x-env: prod}}}}
- {name: web, action: allow, layer7: {tls: {server_names: .example, versions: 1.3}}}
- {name: names, action: allow, layer7: {dns: {names: .example, types: A}}}
- {name: git, action: allow, layer7: {ssh: {software: OpenSSH*}}}
- {name: gre, action: allow, layer3: {other_protocols: gre, destination: 203.0.113.0/24}}
`
	const ends = `"direction": "outbound", "source": "192.0.2.1", "destination": "203.0.113.7:443"`
	const noPort = `"direction": "outbound", "source": "192.0.2.1", "destination": "203.0.113.7"`
	tests := map[string]struct{ question, want string }{
		"packet":        {`"direction": "inbound", "source": "192.0.2.9", "destination": "203.0.113.7:22"`, "allow ssh"},
		"unknown":       {ends, "inspect application,http.host,http.path,http.method,http.headers"},
		"other":         {ends + `, "application": "other"`, "block "},
		"path":          {ends + `, "http": {"host": "API.example", "path": "/v1/%61?x=1", "method": "get", "headers": {"X-Env": ["prod"]}}`, "allow api"},
		"another path":  {ends + `, "http": {"host": "api.example", "path": "/v2"}`, "block "},
		"half":          {ends + `, "http": {"host": "api.example", "path": "/v1"}`, "inspect http.method,http.headers"},
		"no header":     {ends + `, "http": {"host": "api.example", "path": "/v1", "method": "GET"}, "absent": ["http.headers"]`, "block "},
		"bad path":      {ends + `, "http": {"host": "api.example", "path": "/v1%2f"}`, "block "},
		"sni":           {ends + `, "tls": {"server_name": "www.example", "version": "1.3"}`, "allow web"},
		"quic":          {ends + `, "transport": "udp", "tls": {"server_name": "www.example", "version": "1.3"}`, "allow web"},
		"unobtainable":  {ends + `, "application": "tls", "unobtainable": {"tls.server_name": "limit"}`, "block "},
		"dns":           {`"direction": "outbound", "source": "192.0.2.1", "destination": "203.0.113.7:53", "transport": "udp", "dns": {"name": "a.example", "type": "a"}`, "allow names"},
		"dns over tls":  {ends + `, "application": "tls+dns", "dns": {"name": "a.example", "type": "A"}`, "inspect tls.server_name,tls.version"},
		"ssh":           {ends + `, "ssh": {"software": "OpenSSH_9.6"}`, "allow git"},
		"ping":          {noPort + `, "icmp_type": "echo-request"`, "allow ping"},
		"ping, unasked": {`"direction": "outbound", "source": "192.0.2.1", "destination": "203.0.113.7", "icmp_type": "13"`, "block "},
		"gre":           {noPort + `, "transport": "47"`, "allow gre"},

		"no direction":     {`"source": "192.0.2.1", "destination": "203.0.113.7:443"`, "direction: it is not given, and the rule ssh asks for it; accepted: inbound, outbound, forwarded"},
		"no source":        {`"direction": "inbound", "destination": "203.0.113.7:443"`, "source: it is not given, and the rule ssh asks for it; accepted: an address, or"},
		"no port":          {noPort + `, "transport": "tcp"`, "destination: it is not given, and the rule ssh asks for it; accepted: an address and a port"},
		"no type":          {noPort + `, "transport": "icmp"`, "icmp_type: it is not given, and the rule ping asks for it; accepted: 0-255 or a name"},
		"no transport":     {noPort, "transport: it is not given; accepted: tcp, udp"},
		"bad end":          {`"source": "example.com", "destination": "203.0.113.7:443"`, `source: "example.com" is not an address`},
		"families":         {`"source": "2001:db8::1", "destination": "203.0.113.7:443"`, `destination: source and destination are of two address families`},
		"ports of icmp":    {ends + `, "transport": "icmp"`, "transport: icmp has no ports"},
		"type of tcp":      {ends + `, "transport": "tcp", "icmp_type": "8"`, "icmp_type: tcp has no types"},
		"two protocols":    {ends + `, "http": {}, "ssh": {}`, "application: a connection does not speak http+ssh; accepted: http, tls"},
		"other facts":      {ends + `, "application": "ssh", "http": {}`, "application: ssh has no facts of http"},
		"bad application":  {ends + `, "application": "smtp"`, `application: "smtp" is not an application protocol`},
		"bad version":      {ends + `, "tls": {"version": "1.4"}`, `tls.version: "1.4" is not a version; accepted: 1.0, 1.1`},
		"bad fact":         {ends + `, "absent": ["path"]`, `absent: "path" is not a fact; accepted: application, http.host`},
		"given and absent": {ends + `, "http": {"path": "/"}, "absent": ["http.path"]`, "absent: http.path is given, too"},
		"bad cause":        {ends + `, "unobtainable": {"http.path": "gone"}`, `unobtainable.http.path: "gone" is not a cause; accepted: malformed`},
		"bad age":          {ends + `, "age": "soon"`, `age: "soon" is not a duration`},
		"bad type":         {ends + `, "dns": {"type": "MXX"}`, `dns.type: "MXX" is not a type of DNS`},
	}
	p := load(t, rules)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var q policy.Question
			if err := json.Unmarshal([]byte("{"+tt.question+"}"), &q); err != nil {
				t.Fatal(err)
			}
			got := ""
			f, err := q.Facts(p, time.Unix(0, 0))
			if err != nil {
				got = err.Error()
			} else if d := p.Walk(f); d.Action == 0 {
				got = "inspect " + d.Wanted.String()
			} else {
				got = d.Action.String() + " "
				if d.Rule != nil {
					got += d.Rule.Name
				}
			}
			if got != tt.want && (err == nil || !strings.HasPrefix(got, tt.want)) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// What no rule asks for need not be said.
func TestQuestionAsksForNoMore(t *testing.T) {
	p := load(t, "rules: [{name: web, action: allow, layer4: {tcp: 443}}]")
	q := policy.Question{Destination: "[2001:db8::1]:443"}
	f, err := q.Facts(p, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if d := p.Walk(f); d.Action != policy.Allow || !f.Source.Is6() {
		t.Errorf("%+v of %+v", d, f)
	}
}
