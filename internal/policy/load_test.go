package policy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/internal/policy"
)

func openUnder(dir string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) }
}

func TestLoadExample(t *testing.T) {
	text, err := os.ReadFile("testdata/example/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, warnings, err := policy.Load(policy.Document{Name: "policy.yaml", Content: text, Open: openUnder("testdata/example")})
	if err != nil {
		t.Fatal(err)
	}
	r := p.Rules[0]
	got := []string{
		fmt.Sprint(p.Mode, p.DefaultAction, p.Reject, p.NonIP, p.OnError == policy.DefaultOnError(), len(p.Walked())),
		fmt.Sprint(r.Name+" ", r.Action, r.Shadow, r.Direction, r.Expires.Unix(), *r.Reject, r.Line, r.Never),
		fmt.Sprint(r.Source.Include, r.Destination.Include, r.Destination.Exclude, r.OtherProtocols),
		fmt.Sprint(r.Transports),
		fmt.Sprint(r.Layer7.HTTP.Methods, r.Layer7.HTTP.Versions, r.Layer7.TLS.Versions, r.Layer7.TLS.Certificate.ExpiresWithin, r.Layer7.DNS.Types),
		fmt.Sprint(p.Capabilities(), p.RulesNeeding("ssh"), p.HeaderNames(), r.NeedsFacts()),
	}
	want := []string{
		"prevent block outbound allow true 7",
		"web-api allow true outbound 1801353600 true 16 false",
		"[192.0.2.0/24 198.51.100.10/31 198.51.100.12/30 198.51.100.16/30 198.51.100.20/32 2001:db8:1::/48] [203.0.113.0/24] [203.0.113.66/32] [47 132]",
		"[{6 [{1024 65535}] [{80 80} {443 443} {8000 8100}] 1h0m0s} {17 [] [{53 53} {443 443}] 0s}]",
		"[GET HEAD] [1.1 2] [1.2 1.3] 336h0m0s [1 16]",
		"[certificates dns domains http names ssh ssh_keys tls] [web-api] [x-env] true",
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
	// The example has all keys in one rule, two of which exclude each other.
	if len(warnings) != 1 || !strings.Contains(warnings[0].String(), "policy.yaml:16: rule web-api: can never match: other_protocols") {
		t.Errorf("warnings %v", warnings)
	}
}

// rule wraps criteria into a policy of one rule, in line 1.
func rule(criteria string) string {
	return "rules: [{name: a, action: allow, " + criteria + "}]"
}

func TestLoadErrors(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"unknown key":           {"mod: detect", `policy.yaml:1:6: mod: unknown key "mod"; accepted: mode, default_action, on_error, reject, non_ip, safeguards, groups, rules; did you mean mode?`},
		"port":                  {"rules:\n- name: a\n  action: allow\n  layer4:\n    tcp:\n      destination_ports: [80, 65536]", "policy.yaml:6:31: rules[0].layer4.tcp.destination_ports[1]: 65536 is not a port; accepted: 0-65535 or a range 8000-8100"},
		"key of two lines":      {"{\"a\\nb\": 1}", "policy.yaml:1:10: a b: unknown key \"a\\nb\""},
		"key twice":             {"mode: detect\nmode: prevent", `policy.yaml:2:1: mode: the key "mode" is here a second time; accepted: each key once; the first is in line 1`},
		"key twice in JSON":     {"{\"mode\": \"detect\",\n \"mode\": \"prevent\"}", `policy.yaml:2:2: mode: the key "mode" is here a second time`},
		"wrong kind":            {"mode: [detect]", "policy.yaml:1:1: mode: found a list; accepted: detect, prevent"},
		"rules as mapping":      {"rules: {a: b}", "found a mapping; accepted: a list of rules"},
		"two documents":         {"mode: detect\n---\nmode: detect", "policy.yaml:2:1: a second document begins here"},
		"empty":                 {"", "policy.yaml: the policy is empty; accepted: a mapping; an observe-only policy is: mode: detect"},
		"comments only":         {"# nothing\n", "the policy is empty"},
		"NUL":                   {"mode: detect\n\x00", "policy.yaml:2: there is a NUL byte"},
		"not UTF-8":             {"mode: \xe4", "policy.yaml:1: the byte 0xe4 here is not UTF-8"},
		"unquoted exception":    {rule("layer3: {source: [10.0.0.0/8, !10.1.0.0/16]}"), `policy.yaml:1:64: rules[0].layer3.source[1]: an unquoted "!10.1.0.0/16" is a YAML tag, not a value; quote it: "!10.1.0.0/16"`},
		"unquoted group":        {"rules:\n- name: a\n  action: allow\n  layer3:\n    source:\n    - !group:x", `rules[0].layer3.source[0]: an unquoted "!group:x" is a YAML tag, not a value; quote it: "!group:x"`},
		"unquoted wildcard":     {"rules:\n- name: a\n  layer7:\n    domains: *.example.com", `policy.yaml:4:14: rules[0].layer7.domains: an unquoted "*.example.com" is a YAML alias, not a value; quote it: "*.example.com"`},
		"unquoted wildcards":    {rule("layer7: {domains: [a.b, **.example.com]}"), `quote it: "**.example.com"`},
		"unquoted wildcard, ok": {"rules:\n- name: a\n  layer7:\n    domains: *zip", `policy.yaml:4:14: rules[0].layer7.domains: an unquoted "*zip" is a YAML alias, not a value; quote it: "*zip"`},
		"other bad YAML":        {"mode: [", "this is not YAML"},
		"merge key":             {"x: &x {mode: detect}\n<<: *x", "merge keys are not read"},
		"no name":               {"rules: [{action: allow}]", "policy.yaml:1:9: rules[0]: the rule has no name"},
		"no action":             {"rules: [{name: a}]", "rules[0]: the rule has no action; accepted: action: allow or action: block"},
		"bad name":              {"rules: [{name: Web API, action: allow}]", `"Web API" cannot be a rule's name`},
		"name twice":            {"rules:\n- {name: a, action: allow}\n- {name: a, action: block}", `policy.yaml:3:10: rules[1].name: a rule named "a" is there already; accepted: a name of its own for each rule; the first is in line 2`},
		"action":                {"rules: [{name: a, action: alow}]", `"alow" is not known here; accepted: allow, block; did you mean allow?`},
		"prevent on a rule":     {rule("mode: prevent"), `rules[0].mode: "prevent" is not known here; accepted: detect`},
		"expires":               {rule("expires: 2027-01-31"), "did you mean 2027-01-31T00:00:00Z?"},
		"prefix length":         {rule("layer3: {source: 10.0.0.0/33}"), `"10.0.0.0/33" has a prefix length out of range`},
		"host bits":             {rule("layer3: {source: 10.0.0.1/8}"), "did you mean 10.0.0.0/8?"},
		"zone":                  {rule("layer3: {source: fe80::1%eth0}"), "leave out %eth0"},
		"range reversed":        {rule("layer3: {source: 10.0.0.9-10.0.0.1}"), "did you mean 10.0.0.1-10.0.0.9?"},
		"range of two families": {rule("layer3: {source: '10.0.0.9-::1'}"), "goes from one address family to the other"},
		"mapped prefix":         {rule("layer3: {source: '::ffff:0:0/90'}"), "write it as an IPv4 prefix"},
		"not an address":        {rule("layer3: {source: example.com}"), `"example.com" is not an address; accepted: an address, a prefix`},
		"empty list":            {rule("layer3: {source: []}"), "rules[0].layer3.source: an empty list;"},
		"null":                  {rule("layer3: {source: }"), "rules[0].layer3.source: found nothing"},
		"unknown group":         {"groups: {addresses: {office: 10.0.0.1}}\n" + rule("layer3: {source: group:ofice}"), `there is no group "ofice" of addresses; accepted: office; did you mean group:office?`},
		"group of other kind":   {"groups: {domains: {office: a.example}}\n" + rule("layer3: {source: group:office}"), "a group of the other kind has this name"},
		"group in group":        {"groups: {addresses: {a: 10.0.0.1, b: group:a}}", "is a group in a group"},
		"exception in group":    {"groups: {addresses: {a: '!10.0.0.1'}}", "is an exception, and groups have none"},
		"list file":             {"groups: {addresses: {a: {file: none.txt}}}", "groups.addresses.a.file: cannot read the list file"},
		"entry of a list file":  {"groups: {addresses: {a: {file: trackers.txt}}}", `trackers.txt:2: groups.addresses.a: ".tracker.example" is not an address`},
		"protocol of layer4":    {rule("layer3: {other_protocols: tcp}"), "write layer4: tcp"},
		"protocol":              {rule("layer3: {other_protocols: [GRE]}"), "did you mean gre?"},
		"octal protocol":        {rule("layer3: {other_protocols: '047'}"), `"047" is not an IP protocol`},
		"port range":            {rule("layer4: {tcp: 90-80}"), "90-80 ends before it begins; accepted: 0-65535 or a range 8000-8100; did you mean 80-90?"},
		"port with zero":        {rule("layer4: {tcp: 080}"), "080 is not a port"},
		"ICMP type":             {rule("layer4: {icmp: echo-requst}"), "did you mean echo-request?"},
		"ICMP type of IPv4":     {rule("layer4: {icmpv6: source-quench}"), "it is one of icmp"},
		"duration":              {rule("layer4: {tcp: {duration: {over: 90}}}"), "give the unit: 90s?"},
		"duration too long":     {rule("layer4: {tcp: {duration: {over: 40000d}}}"), "up to 36500d"},
		"name with port":        {rule("layer7: {domains: 'a.example:443'}"), "leave out the port"},
		"URL as name":           {rule("layer7: {domains: 'https://a.example/x'}"), "leave out the scheme and the path"},
		"wildcard in label":     {rule("layer7: {domains: 'a*.example'}"), "* stands for a whole label"},
		"IDNA":                  {rule(`layer7: {domains: "a\u0600.example"}`), "is not a name in IDNA"},
		"path without slash":    {rule("layer7: {http: {paths: v1}}"), `did you mean "/v1"?`},
		"path with query":       {rule("layer7: {http: {paths: '/a?b'}}"), "paths are compared without their query"},
		"path malformed":        {rule("layer7: {http: {paths: '/a%2Fb'}}"), "has an encoded separator: requests with such a path are malformed"},
		"expression":            {rule("layer7: {http: {paths: '~(a'}}"), "is not an RE2 expression: missing closing )"},
		"exception of texts":    {rule("layer7: {ssh: {software: '!x'}}"), "looks like an exception"},
		"header twice":          {rule("layer7: {http: {headers: {a: b, A: c}}}"), "case does not matter"},
		"fingerprint":           {rule("layer7: {ssh: {public_keys: SHA256:abc}}"), "is not a fingerprint"},
		"version":               {rule("layer7: {tls: {versions: 1.4}}"), `"1.4" is not known here; accepted: 1.0, 1.1, 1.2, 1.3`},
		"quoted flag":           {rule(`reject: "true"`), "is neither true nor false"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, _, err := policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(tt.text), Open: openUnder("testdata/example/lists")})
			if err == nil || p != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestLoadTellsAllProblems(t *testing.T) {
	_, _, err := policy.Load(policy.Document{Name: "p", Content: []byte("rules:" + strings.Repeat("\n- {name: a}", 30))})
	var problems policy.Errors
	if !errors.As(err, &problems) || len(problems) != 21 {
		t.Fatalf("%d problems: %v", len(problems), err)
	}
	if got := problems[20].Error(); got != "p: 39 more problems are not shown" {
		t.Error(got)
	}
}

func TestLoadBounds(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 10), ", "))
	}
	// Aliases that the reader follows: one list of many entries, in many rules.
	wide := "groups: {addresses: {g: &l [" + strings.Repeat("10.0.0.1, ", 2000) + "10.0.0.2]}}\nrules:\n"
	for i := range 1000 {
		wide += fmt.Sprintf("- {name: r%d, action: allow, layer3: {source: *l}}\n", i)
	}
	tests := map[string]struct{ text, want string }{
		"too large":    {strings.Repeat("#", policy.MaxPolicySize+1), "the file has 67108865 bytes; accepted: a policy of at most 67108864 bytes"},
		"alias bomb":   {bomb, "unknown key"},
		"wide aliases": {wide, "the aliases of this policy stand for more than 1000000 values; use groups instead of aliases"},
		"deep":         {"rules: " + strings.Repeat("[", 20000), "not YAML"},
		"wide ranges":  {"groups: {addresses: {g: [" + strings.Repeat("'::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe', ", 40000) + "'::1']}}", "come to more than 4000000 prefixes"},
		"wide expressions": {
			"rules: [{name: a, action: allow, layer7: {http: {paths: [" + strings.Repeat("'~(abcdefghijklmnopqrst){1000}', ", 200) + "/]}}}]",
			"come to more than 1000000 instructions",
		},
		"large and not plain": {"mode: detect\n" + strings.Repeat("#\n", 9<<20) + "reject: &x always", "p:9437186: the file has 18874398 bytes, and here is YAML that is read in smaller files only; accepted: in files of more than 16777216 bytes no anchors"},
		"large and wrong":     {strings.Repeat("#\n", 9<<20) + "mode: alow", "p:9437185:7: mode: \"alow\" is not known here"},
		"one wide line":       {"rules: [ü" + strings.Repeat(",a", 1<<20) + "]", "1048557 more problems are not shown"},
		"many quotes":         {"mode: '" + strings.Repeat("''", 8<<20) + "'", "is not known here"},
		"many escapes":        {"mode: \"" + strings.Repeat("\\\"", 8<<20) + "\"", "is not known here"},
		"rules without end":   {"rules:\n" + strings.Repeat("-\n", 1<<20), "1048556 more problems are not shown"},
		"wide JSON":           {`{"groups": [1` + strings.Repeat(",1", 2_000_000) + "]}", "more than 2000000 outside of the rules or in one of them"},
		"deep JSON":           {`{"rules": ` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}", "found a list"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, _, err := policy.Load(policy.Document{Name: "p", Content: []byte(tt.text)})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %.300v, want %s", err, tt.want)
			}
			if took := time.Since(start); took > time.Minute { // what is not bounded takes hours
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestLoadAliases(t *testing.T) {
	p := load(t, "groups: {addresses: {g: &l [10.0.0.1, 10.0.0.3]}}\nrules: [{name: a, action: allow, layer3: {source: *l, destination: *l}}]")
	if got := fmt.Sprint(p.Rules[0].Source.Include, p.Rules[0].Destination.Include); got != "[10.0.0.1/32 10.0.0.3/32] [10.0.0.1/32 10.0.0.3/32]" {
		t.Error(got)
	}
}

func TestLoadInline(t *testing.T) {
	var root yaml.Node
	if err := root.Encode(map[string]any{"mode": "prevent", "rules": []any{map[string]any{"name": "a", "action": "alow"}}}); err != nil {
		t.Fatal(err)
	}
	_, _, err := policy.Load(policy.Document{Name: "config", Root: &root, KeyPrefix: "extensions::connection_policy::policy"})
	if want := `config: extensions::connection_policy::policy.rules[0].action: "alow" is not known here`; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoadDefaults(t *testing.T) {
	tests := map[string]struct {
		text   string
		action policy.Action
		empty  bool
	}{
		"no rules":               {"mode: prevent", policy.Allow, true},
		"an empty list":          {"rules: []", policy.Allow, true},
		"rules":                  {rule("layer4: tcp"), policy.Block, false},
		"rules and allow":        {"default_action: allow\n" + rule("layer4: tcp"), policy.Allow, false},
		"no rules, but to block": {"default_action: block", policy.Block, false},
		"JSON":                   {`{"mode": "prevent"}`, policy.Allow, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := load(t, tt.text)
			if p.DefaultAction != tt.action || p.Empty() != tt.empty {
				t.Errorf("%v, empty %t", p.DefaultAction, p.Empty())
			}
		})
	}
	if o := policy.Observe(); !o.Empty() || o.Mode != policy.Detect {
		t.Error("the policy that observes claims something")
	}
}

func TestTransports(t *testing.T) {
	tests := map[string]struct{ criteria, want string }{
		"short":                {"layer4: [tcp, udp]", "[{6 [] [] 0s} {17 [] [] 0s}]"},
		"ports":                {"layer4: {tcp: [80, 8000-8100], udp: 53}", "[{6 [] [{80 80} {8000 8100}] 0s} {17 [] [{53 53}] 0s}]"},
		"icmp by name":         {"layer4: {icmp: {types: [echo-request, 3], codes: 0}}", "[{1 [{8 8} {3 3}] [{0 0}] 0s} {58 [{128 128}] [{0 0}] 0s}]"},
		"icmp of IPv6 by name": {"layer4: {icmp: packet-too-big}", "[{58 [{2 2}] [] 0s}]"},
		"icmp":                 {"layer4: icmp", "[{1 [] [] 0s}]"},
		"icmpv6":               {"layer4: {icmpv6: [packet-too-big, 128-129]}", "[{58 [{2 2} {128 129}] [] 0s}]"},
		"http implies":         {"layer7: {http: {}}", "[{6 [] [] 0s}]"},
		"tls implies":          {"layer7: {tls: a.example}", "[{6 [] [] 0s} {17 [] [] 0s}]"},
		"dns over udp implies": {"layer7: {dns: {transports: udp}}", "[{17 [] [] 0s}]"},
		"dns over tls implies": {"layer7: {dns: {transports: tls}}", "[{6 [] [] 0s}]"},
		"domains imply none":   {"layer7: {domains: a.example}", "[]"},
		"http narrows":         {"layer4: {tcp: 80, udp: 80}, layer7: {http: {}}", "[{6 [] [{80 80}] 0s}]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(load(t, rule(tt.criteria)).Rules[0].Transports); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
