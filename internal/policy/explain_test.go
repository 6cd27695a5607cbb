package policy

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// An explanation has the decision of the walk, and its steps lead there.
func TestExplainAgreesWithWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, f := drawPolicy(t), drawFacts(t)
		t.Logf("%+v", *f)
		e := p.Explain(f)
		if d := p.Walk(f); !reflect.DeepEqual(e.Decision, d) {
			t.Fatalf("explained %+v, walked %+v", e.Decision, d)
		}
		if p.Empty() {
			if len(e.Steps) > 0 {
				t.Fatalf("%d steps of a policy that claims nothing", len(e.Steps))
			}
			return
		}
		rules := p.Walked()
		for i, s := range e.Steps {
			if s.Index != i || s.Rule.Name != rules[i].Name {
				t.Fatalf("step %d is of rule %d, %s", i, s.Index, s.Rule.Name)
			}
			if s.Ends != (i == len(e.Steps)-1) && (s.Ends || len(e.Steps) < len(rules)) {
				t.Fatalf("the walk goes on after its end, or ends for nothing: %+v", s)
			}
			if s.Ends && (s.Outcome == Differs || s.Rule.Shadow) {
				t.Fatalf("ended by %+v", s)
			}
			if s.Outcome == Matches && !s.Rule.Shadow && !s.Ends {
				t.Fatalf("a rule that matches did not end the walk: %+v", s)
			}
			checkWhy(t, &s)
		}
		if d := e.Decision; d.Rule != nil {
			if last := e.Steps[len(e.Steps)-1]; !last.Ends || last.Index != d.Index {
				t.Fatalf("%+v decides, but the last step is %+v", d, last)
			}
		}
	})
}

// checkWhy: what the criteria say each by itself is what the rule says.
func checkWhy(t *rapid.T, s *Step) {
	var groups [2][]Outcome // what must hold, and the alternatives
	for _, c := range s.Criteria {
		if (c.Outcome == Waits) != (c.Wanted != 0) || (c.Outcome == Lacks) != (c.Cause != 0) {
			t.Fatalf("a criterion at odds with itself: %+v", c)
		}
		if c.Outcome == Differs && c.Found == "" {
			t.Fatalf("nothing found, but it differs: %+v", c)
		}
		i := 0
		if strings.HasPrefix(c.Key, "layer7.") && c.Key != "layer7.domains" {
			i = 1
		}
		groups[i] = append(groups[i], c.Outcome)
	}
	if s.Outcome != Matches && len(s.Why()) == 0 {
		t.Fatalf("no reason for %+v", *s)
	}
	for _, o := range groups[0] {
		if s.Outcome == Matches && o != Matches {
			t.Fatalf("matches in spite of a criterion: %+v", *s)
		}
		if o == Differs && s.Outcome != Differs {
			t.Fatalf("a criterion differs, but the rule does not: %+v", *s)
		}
	}
	if s.Outcome == Matches && len(groups[1]) > 0 && !slices.Contains(groups[1], Matches) {
		t.Fatalf("matches by none of its alternatives: %+v", *s)
	}
}

func TestExplainWhy(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		rule  string
		facts Facts
		want  string
	}{
		"direction":     {"direction: inbound", Facts{}, "direction differs: outbound"},
		"expired":       {"expires: 2026-01-01T00:00:00Z", Facts{}, "expires differs: 2026-05-01T00:00:00Z"},
		"source":        {"layer3: {source: 10.0.0.0/8}", Facts{}, "layer3.source differs: 192.0.2.1"},
		"destination":   {"layer3: {destination: '!203.0.113.0/24'}", Facts{}, "layer3.destination differs: 203.0.113.7"},
		"both":          {"layer3: {source: 10.0.0.0/8, destination: 10.0.0.0/8}", Facts{}, "layer3.source differs: 192.0.2.1; layer3.destination differs: 203.0.113.7"},
		"names":         {"layer3: {destination_names: a.example}", Facts{}, "layer3.destination_names differs: no name"},
		"protocol":      {"layer4: udp", Facts{}, "layer4 differs: tcp"},
		"implied":       {"layer7: {http: {}}", Facts{Protocol: 17}, "layer7.http differs: udp"},
		"port":          {"layer4: {tcp: [80, 8000-8100]}", Facts{}, "layer4.tcp.destination_ports differs: 443"},
		"source port":   {"layer4: {tcp: {source_ports: 1024-65535}}", Facts{SourcePort: 22}, "layer4.tcp.source_ports differs: 22"},
		"duration":      {"layer4: {tcp: {duration: {over: 1h}}}", Facts{Age: time.Minute}, "layer4.tcp.duration differs: 1m0s"},
		"icmp":          {"layer4: {icmp: {types: echo-request, codes: 1}}", Facts{Protocol: 1, ICMPType: 3}, "layer4.icmp.types differs: 3; layer4.icmp.codes differs: 0"},
		"other":         {"layer3: {other_protocols: gre}", Facts{Protocol: 50}, "layer3.other_protocols differs: protocol 50"},
		"not spoken":    {"layer7: {http: {paths: /v1}}", Facts{Application: Is(AppSSH)}, "layer7.http differs: ssh"},
		"path":          {"layer7: {http: {hosts: a.example, paths: /v1}}", Facts{Application: Is(AppHTTP), HTTP: HTTPFacts{Host: Is("a.example"), Path: Is("/v2")}}, "layer7.http.paths differs: /v2"},
		"header":        {"layer7: {http: {headers: {x-env: prod}}}", Facts{Application: Is(AppHTTP), HTTP: HTTPFacts{Headers: Is(map[string][]string{})}}, "layer7.http.headers.x-env differs: none"},
		"wanted":        {"layer7: {tls: a.example}", Facts{Application: Is(AppTLS)}, "layer7.tls.server_names waits: tls.server_name"},
		"lost":          {"layer7: {tls: a.example}", Facts{Application: Is(AppTLS), TLS: TLSFacts{ServerName: Lost[string](Limit)}}, "layer7.tls.server_names lacks: limit"},
		"no name":       {"layer7: {tls: a.example}", Facts{Application: Is(AppTLS), TLS: TLSFacts{ServerName: Missing[string]()}}, "layer7.tls.server_names differs: none"},
		"certificate":   {"layer7: {tls: {certificate: {issuer_names: R1*, expired: false}}}", Facts{Application: Is(AppTLS), TLS: TLSFacts{Certificate: Is(CertificateFacts{IssuerNames: []string{"E5"}, NotAfter: now.Add(time.Hour)})}}, "layer7.tls.certificate.issuer_names differs: E5"},
		"question":      {"layer7: {dns: {types: [A, AAAA], names: .zip}}", Facts{Application: Is(AppDNS), DNS: DNSFacts{Name: Is("a.zip"), Type: Is[uint16](16)}}, "layer7.dns.types differs: TXT"},
		"DNS transport": {"layer7: {dns: {transports: udp}}", Facts{}, "layer7.dns.transports differs: tcp"},
		"ssh":           {"layer7: {ssh: {software: OpenSSH*}}", Facts{Application: Is(AppSSH), SSH: SSHFacts{Software: Is("dropbear")}}, "layer7.ssh.software differs: dropbear"},
		"domain":        {"layer7: {domains: .example}", Facts{Application: Is(AppTLS), TLS: TLSFacts{ServerName: Is("b.test")}}, "layer7.domains differs: b.test"},
		"matches":       {"layer4: {tcp: 443}", Facts{}, ""},
		"never":         {"layer4: udp, layer7: {ssh: {}}", Facts{}, "rule differs: it can never match; layer4 differs: tcp"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, _, err := Load(Document{Name: "p", Content: []byte("safeguards: {loopback: false, dhcp: false, neighbor-discovery: false, icmp-errors: false, export: false}\nrules: [{name: r, action: allow, " + tt.rule + "}]")})
			if err != nil {
				t.Fatal(err)
			}
			f := tt.facts
			f.Now, f.Direction = now, Outbound
			f.Source, f.Destination, f.DestinationPort = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("203.0.113.7"), 443
			if f.isICMP() {
				f.DestinationPort = 0
			}
			if f.Protocol == 0 {
				f.Protocol = 6
			}
			e := p.Explain(&f)
			var got []string
			for _, c := range e.Steps[0].Why() {
				word := map[Outcome]string{Differs: "differs: " + c.Found, Waits: "waits: " + c.Wanted.String(), Lacks: "lacks: " + c.Cause.String()}[c.Outcome]
				got = append(got, c.Key+" "+word)
			}
			if s := strings.Join(got, "; "); s != tt.want {
				t.Errorf("got  %s\nwant %s", s, tt.want)
			}
		})
	}
}

func TestExplainSafeguards(t *testing.T) {
	p, _, err := Load(Document{Name: "p", Content: []byte("rules: [{name: r, action: block}]")})
	if err != nil {
		t.Fatal(err)
	}
	f := &Facts{Direction: Outbound, Source: netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("192.0.2.9"), Protocol: 6}
	var all []string
	for _, s := range p.Explain(f).Steps {
		for _, c := range s.Why() {
			all = append(all, fmt.Sprintf("%s: %s: %s", s.Rule.Name, c.Key, c.Found))
		}
	}
	for _, want := range []string{
		"weir:loopback: safeguard: not on a loopback interface", "weir:dhcp: layer4: tcp", "weir:export: safeguard: not a socket of Weir's",
	} {
		if !slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("%q is missing from\n%s", want, strings.Join(all, "\n"))
		}
	}
}
