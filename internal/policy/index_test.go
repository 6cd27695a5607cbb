package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// indexedValues are what the rules and the facts of drawIndexed are made of: each
// pattern has a value that it matches, and some that it nearly does.
var indexedValues = struct{ names, seenNames, paths, seenPaths, addresses, seenAddresses, ports []string }{
	names: []string{
		"a.example", "b.example", ".example", "*.example", "**.a.example", "a.*.example", "group:many", "group:none", "!a.example", "**", "[2001:db8::1]",
	},
	seenNames: []string{"a.example", "B.example.", "example", "x.a.example", "a.x.example", "n7.many.example", "n7.many.examples", "", "2001:db8::1", "."},
	paths: []string{
		"/", "/a", "/a/**", "/a*", "/a**", "/a/*/c", "**/c", "*", "~^/[ab]$", "/1/2/3/4/5/6/7/8/9/**", "/1/2/3/4/5/6/7/**", "/1/2/3/4/5/6/7/8", "/%7Ea/*",
	},
	seenPaths: []string{
		"/", "/a", "/a/", "/ab", "/a/b", "/a/b/c", "/ab/c", "*", "/1/2/3/4/5/6/7/8/9/10", "/1/2/3/4/5/6/7/8/9", "/1/2/3/4/5/6/7/8", "/1/2/3/4/5/6/7", "/~a/b", "//a",
	},
	addresses: []string{
		"192.0.2.1", "192.0.2.0/24", "192.0.0.0/12", "0.0.0.0/0", "192.0.2.1-192.0.2.9", "!192.0.2.1", "2001:db8::/32", "2001:db8::1", "2000::/3", "group:wide",
	},
	seenAddresses: []string{"192.0.2.1", "192.0.2.2", "192.1.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8:0:1::1", "fe80::1"},
	ports:         []string{"80", "443", "80-90", "1-1000", "0"},
}

const indexedGroups = `
groups:
  addresses: {wide: [%s]}
  domains: {none: [], many: [%s]}
`

func drawIndexed(t *rapid.T) *Policy {
	one := func(values []string) string { return rapid.SampledFrom(values).Draw(t, "one") }
	some := func(values []string) string {
		var list []string
		for range rapid.IntRange(1, 2).Draw(t, "some") {
			list = append(list, fmt.Sprintf("%q", one(values)))
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	chance := func(percent int) bool { return rapid.IntRange(0, 99).Draw(t, "chance") < percent }
	actions := []string{"allow", "block"}
	if chance(50) { // so that it goes on for long
		actions = actions[rapid.IntRange(0, 1).Draw(t, "action"):][:1]
	}
	v := &indexedValues
	var b strings.Builder
	var wide, many []string
	for i := range mostKeys + 1 {
		wide = append(wide, fmt.Sprintf("10.%d.0.0/24", i))
		many = append(many, fmt.Sprintf("n%d.many.example", i))
	}
	fmt.Fprintf(&b, "mode: prevent\ndefault_action: %s\nsafeguards: {loopback: %t}\n", one([]string{"allow", "block"}), chance(50))
	fmt.Fprintf(&b, indexedGroups, strings.Join(append(wide, "192.0.2.2"), ", "), strings.Join(many, ", "))
	if chance(30) {
		fmt.Fprintf(&b, "on_error: {limit: allow, not_seen: %s}\n", one([]string{"allow", "block", "keep"}))
	} else {
		fmt.Fprintf(&b, "on_error: {not_seen: %s}\n", one([]string{"block", "keep"}))
	}
	b.WriteString("rules:\n")
	for i := range rapid.IntRange(1, 100).Draw(t, "rules") {
		fmt.Fprintf(&b, "- name: r%d\n  action: %s\n", i, one(actions))
		if chance(5) {
			b.WriteString("  mode: detect\n")
		}
		if chance(20) {
			fmt.Fprintf(&b, "  direction: %s\n", one([]string{"inbound", "outbound", "forwarded"}))
		}
		if chance(5) {
			b.WriteString("  expires: 1970-01-01T00:16:39Z\n")
		}
		var l3, l7 []string
		for key, values := range map[string][]string{"source": v.addresses, "destination": v.addresses, "destination_names": v.names} {
			if chance(15) {
				l3 = append(l3, key+": "+some(values))
			}
		}
		if len(l3) > 0 {
			fmt.Fprintf(&b, "  layer3: {%s}\n", strings.Join(l3, ", "))
		}
		for _, key := range []string{"http", "tls", "dns", "ssh", "domains"} {
			if !chance(25) {
				continue
			}
			var inner []string
			for _, c := range map[string][]string{
				"http": {"hosts: " + some(v.names), "paths: " + some(v.paths), "methods: GET"}, "tls": {"server_names: " + some(v.names), "versions: 1.3"},
				"dns": {"names: " + some(v.names), "types: A", "transports: tls"}, "ssh": {"software: OpenSSH"},
			}[key] {
				if chance(40) {
					inner = append(inner, c)
				}
			}
			criterion := key + ": {" + strings.Join(inner, ", ") + "}"
			if key == "domains" {
				criterion = "domains: " + some(v.names)
			}
			l7 = append(l7, criterion)
		}
		switch {
		case len(l7) > 0:
			fmt.Fprintf(&b, "  layer7: {%s}\n", strings.Join(l7, ", "))
		case chance(60):
			fmt.Fprintf(&b, "  layer4: {%s: {destination_ports: %s}}\n", one([]string{"tcp", "udp"}), some(v.ports))
		case chance(20):
			b.WriteString("  layer4: icmp\n")
		}
	}
	p, _, err := Load(Document{Name: "drawn", Content: []byte(b.String())})
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	t.Logf("%s", b.String())
	return p
}

func drawIndexedFacts(t *rapid.T) *Facts {
	v := &indexedValues
	address := func(name string) netip.Addr {
		return netip.MustParseAddr(rapid.SampledFrom(v.seenAddresses).Draw(t, name))
	}
	seen := func(values []string) Fact[string] {
		switch rapid.IntRange(0, 5).Draw(t, "seen") { // most are known, or still to come
		case 0, 1, 2:
			return Is(rapid.SampledFrom(values).Draw(t, "value"))
		case 3, 4:
			return Fact[string]{}
		}
		return drawFact(t, values...)
	}
	apps := []Application{AppHTTP, AppHTTP, AppTLS, AppTLS, AppQUIC, AppDNS, AppSSH, AppOther, AppTLS | AppDNS}
	f := &Facts{
		Now: time.Unix(1000, 0), Direction: rapid.SampledFrom([]DirectionSet{Inbound, Outbound, Forwarded}).Draw(t, "direction"),
		Source: address("source"), Destination: address("destination"),
		Protocol:        rapid.SampledFrom([]uint8{6, 6, 6, 6, 17, 17, 1, 47}).Draw(t, "protocol"),
		DestinationPort: rapid.SampledFrom([]uint16{0, 80, 85, 443, 999, 1001}).Draw(t, "port"),
		Loopback:        rapid.IntRange(0, 9).Draw(t, "loopback") == 0,
		Kept:            rapid.Bool().Draw(t, "kept"),
		Names:           rapid.SliceOfN(rapid.SampledFrom(v.seenNames), 0, 2).Draw(t, "names"),
		Application:     drawFact(t, apps...),
		HTTP:            HTTPFacts{Method: drawFact(t, "GET", "POST"), Host: seen(v.seenNames), Path: seen(v.seenPaths)},
		TLS:             TLSFacts{ServerName: seen(v.seenNames), Version: drawFact(t, "1.2", "1.3")},
		DNS:             DNSFacts{Name: seen(v.seenNames), Type: drawFact(t, uint16(1), 28)},
		SSH:             SSHFacts{Software: drawFact(t, "OpenSSH", "dropbear")},
	}
	if rapid.Bool().Draw(t, "known") {
		f.Application = Is(rapid.SampledFrom(apps).Draw(t, "application"))
	}
	return f
}

// TestIndexAgainstWalk: an index answers as the policy does, in every respect, and not
// because all rules are tried.
func TestIndexAgainstWalk(t *testing.T) {
	var walked, tried, dropped int
	rapid.Check(t, func(t *rapid.T) {
		p := drawIndexed(t)
		x := newIndex(p)
		for range 20 {
			f := drawIndexedFacts(t)
			t.Logf("%+v", *f)
			if want, got := p.Walk(f), x.Walk(f); got != want {
				t.Fatalf("the index says %+v, the walk %+v", got, want)
			}
			walked += len(p.Rules)
			for i := range p.Rules {
				candidate := x.candidates[i/64]&(1<<(i%64)) != 0
				if candidate {
					tried++
				} else if truth := p.Rules[i].match(f); truth.can != isFalse {
					t.Fatalf("%s is left out and may be true: %+v", p.Rules[i].Name, truth)
				}
			}
			dropped += countTried(p, f, nil) - countTried(p, f, x)
		}
	})
	t.Logf("%d rules, %d candidates, %d of which are not tried", walked, tried, dropped)
	if tried > walked/2 || dropped < tried/200 {
		t.Errorf("of %d rules %d are candidates, and %d more are not tried", walked, tried, dropped)
	}
}

// countTried is how many rules a walk tries that may be true.
func countTried(p *Policy, f *Facts, found *Index) (n int) {
	w := walk{policy: p, facts: f, found: found, answer: Decision{Index: -1}, tell: func(r *Rule, _ int, _ bool) {
		if !r.Safeguard() && r.match(f).can != isFalse {
			n++
		}
	}}
	w.run()
	return n
}

// The policies of the other walk tests, whose rules are few.
func TestIndexOfFewRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, f := drawPolicy(t), drawFacts(t)
		t.Logf("%+v", *f)
		for _, x := range []*Index{newIndex(p), NewIndex(p)} {
			if want, got := p.Walk(f), x.Walk(f); got != want {
				t.Fatalf("the index says %+v, the walk %+v", got, want)
			}
		}
	})
}

// TestIndexKeys: each pattern by itself, against each value.
func TestIndexKeys(t *testing.T) {
	v := &indexedValues
	for _, c := range []struct {
		criterion      string
		patterns, seen []string
		facts          func(value string) *Facts
	}{
		{"layer3: {source: [%s]}", v.addresses, v.seenAddresses, func(s string) *Facts { return &Facts{Protocol: 6, Source: netip.MustParseAddr(s)} }},
		{"layer3: {destination_names: [%s]}", v.names, v.seenNames, func(s string) *Facts { return &Facts{Protocol: 6, Names: []string{"x", s}} }},
		{"layer7: {domains: [%s]}", v.names, v.seenNames, func(s string) *Facts { return &Facts{Protocol: 47, Names: []string{s}} }},
		{"layer7: {http: {hosts: [%s]}}", v.names, v.seenNames, func(s string) *Facts { return &Facts{Protocol: 6, HTTP: HTTPFacts{Host: Is(s)}} }},
		{"layer7: {http: {paths: [%s]}}", v.paths, v.seenPaths, func(s string) *Facts { return &Facts{Protocol: 6, HTTP: HTTPFacts{Path: Is(s)}} }},
		{"layer7: {tls: {server_names: [%s]}}", v.names, v.seenNames, func(s string) *Facts { return &Facts{Protocol: 6, TLS: TLSFacts{ServerName: Is(s)}} }},
		{"layer7: {dns: {names: [%s]}}", v.names, v.seenNames, func(s string) *Facts { return &Facts{Protocol: 6, DNS: DNSFacts{Name: Is(s)}} }},
	} {
		for _, pattern := range c.patterns {
			var many []string
			for i := range mostKeys + 1 {
				many = append(many, fmt.Sprintf("n%d.many.example", i))
			}
			text := fmt.Sprintf(indexedGroups, "192.0.2.2", strings.Join(many, ", ")) +
				fmt.Sprintf("rules: [{name: r, action: allow, "+c.criterion+"}]", fmt.Sprintf("%q", pattern))
			p, _, err := Load(Document{Name: "p", Content: []byte(text)})
			if err != nil {
				t.Fatal(err)
			}
			x := newIndex(p)
			for _, value := range c.seen {
				f := c.facts(value)
				f.Direction = Inbound
				x.narrow(f)
				if truth := p.Rules[0].match(f); truth.can != isFalse && x.candidates[0] == 0 {
					t.Errorf(c.criterion+" is left out for %q, and may be true: %+v", pattern, value, truth)
				}
			}
		}
	}
}

// TestIndexWaits: a rule that waits is not passed over where it could still make a
// difference.
func TestIndexWaits(t *testing.T) {
	rule := func(action, layer7 string) string {
		return fmt.Sprintf("- {name: r-%x, action: %s, layer7: %s}\n", layer7, action, layer7)
	}
	hostLost := &Facts{Protocol: 6, Application: Is(AppHTTP), HTTP: HTTPFacts{Host: Lost[string](Malformed)}}
	for name, c := range map[string]struct {
		facts *Facts
		text  string
	}{
		// Of the first rule only one cause can speak, of the second each.
		"another answer to another cause": {hostLost, "on_error: {limit: allow}\nrules:\n" +
			rule("block", "{http: {hosts: a.example, paths: /a}}") + rule("block", "{http: {paths: /b}}")},
		"kept": {func() *Facts { f := *hostLost; f.Kept = true; return &f }(), "on_error: {not_seen: keep}\nrules:\n" +
			rule("block", "{http: {hosts: a.example, paths: /a}}") + rule("block", "{http: {paths: /b}}")},
		"the other action":    {&Facts{Protocol: 6}, "rules:\n" + rule("block", "{http: {paths: /a}}") + rule("allow", "{http: {paths: /b}}")},
		"one that needs none": {&Facts{Protocol: 6}, "rules:\n" + rule("block", "{http: {paths: /a}}") + "- {name: all, action: block}\n"},
		"a path, with the host to come": {&Facts{Protocol: 6, Application: Is(AppHTTP), HTTP: HTTPFacts{Path: Is("/a")}}, "rules:\n" +
			rule("block", "{http: {hosts: a.example}}") + rule("block", "{http: {paths: /a}}")},
		"a host, with the path to come": {&Facts{Protocol: 6, Application: Is(AppHTTP), HTTP: HTTPFacts{Host: Is("a.example")}}, "rules:\n" +
			rule("block", "{http: {paths: /a}}") + rule("block", "{http: {hosts: a.example}}")},
	} {
		t.Run(name, func(t *testing.T) {
			p, _, err := Load(Document{Name: "p", Content: []byte("default_action: block\n" + c.text)})
			if err != nil {
				t.Fatal(err)
			}
			c.facts.Direction = Inbound
			if want, got := p.Walk(c.facts), newIndex(p).Walk(c.facts); got != want {
				t.Errorf("the index says %+v, the walk %+v", got, want)
			}
		})
	}
}
