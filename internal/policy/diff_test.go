package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/weirnet/weir/internal/policy"
)

func TestDiff(t *testing.T) {
	r := func(rules ...string) string { return "rules:\n- {" + strings.Join(rules, "}\n- {") + "}\n" }
	a, b, c, d := "name: a, action: allow", "name: b, action: block, layer4: udp", "name: c, action: allow, layer4: {tcp: 1}", "name: d, action: block, layer4: {tcp: 2}"
	tests := map[string]struct{ before, after, want string }{
		"the same":           {r(a, b), "# comment\nmode: detect\n" + r(a, b), ""},
		"short forms":        {r("name: a, action: allow, layer4: [tcp], layer7: {tls: x.example}"), r("name: a, action: allow, direction: any, layer7: {tls: {server_names: [x.example]}}, layer4: {tcp: {}}"), ""},
		"order in a list":    {r("name: a, action: allow, layer4: {tcp: [1, 2]}"), r("name: a, action: allow, layer4: {tcp: [2, 1, 1]}"), ""},
		"alias":              {"rules:\n- name: a\n  action: allow\n  layer3: {source: &s [10.0.0.1, 10.0.0.2]}\n- {name: b, action: allow, layer3: {destination: *s}}", r("name: a, action: allow, layer3: {source: [10.0.0.1, 10.0.0.2]}", "name: b, action: allow, layer3: {destination: [10.0.0.1, 10.0.0.2]}"), ""},
		"settings":           {r(a), "mode: prevent\ndefault_action: allow\non_error: {limit: allow}\nsafeguards: {dhcp: false}\n" + r(a), "default_action: block → allow\nmode: detect → prevent\non_error.limit: block → allow\nsafeguards.dhcp: true → false"},
		"default that moves": {"mode: detect", r(a), "default_action: allow → block\n+ rule 1 a: allow everything"},
		"added, removed":     {r(a, b, c), r(a, d, c), "- rule 2 b: block layer4.udp any\n+ rule 2 d: block layer4.tcp.destination_ports 2"},
		"removed at the end": {r(a, b), r(a), "- rule 2 b: block layer4.udp any"},
		"renamed":            {r(a, b), r(a, strings.Replace(b, "name: b", "name: x", 1)), "~ rule 2 x: was named b"},
		"moved":              {r(a, b, c, d), r(d, a, b, c), "~ rule 1 d: moved, was 4"},
		"moved and changed":  {r(a, b, c, d), r("name: d, action: allow, layer4: {tcp: 2}", a, b, c), "~ rule 1 d, was 4:\n    action: block → allow"},
		"inserted":           {r(a, c), r(a, b, c), "+ rule 2 b: block layer4.udp any"},
		"criteria": {
			r("name: a, action: allow, layer3: {source: [10.0.0.1, 10.0.0.2]}, layer4: {tcp: [80, 443]}, layer7: {http: {headers: {X-Env: a}}}"),
			r("name: a, action: allow, layer4: {tcp: [443, 8080, 8081]}, layer7: {http: {headers: {x-env: [a, b]}}}, expires: 2100-01-01T00:00:00Z"),
			"~ rule 1 a:\n    expires: none → 2100-01-01T00:00:00Z\n    layer3.source: 10.0.0.1, 10.0.0.2 → any\n    layer4.tcp.destination_ports: + 8080, 8081  - 80\n    layer7.http.headers.x-env: + b",
		},
		"groups": {
			"groups: {addresses: {office: [10.0.0.1, 10.0.0.2], old: []}, domains: {x: a.example}}",
			"groups: {addresses: {office: {file: list}}, domains: {x: a.example, y: []}}",
			"~ group addresses.office: 2 → 3 entries: + 10.0.0.3, 10.0.0.4  - 10.0.0.2\n- group addresses.old: 0 entries\n+ group domains.y: 0 entries",
		},
		"many": {
			"mode: detect", "groups: {addresses: {g: {file: many}}}", "+ group addresses.g: 100 entries",
		},
		"many values": {
			r("name: a, action: allow, layer4: {tcp: [1, 2]}"), r("name: a, action: allow, layer4: {tcp: [1, 2, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]}"),
			"~ rule 1 a:\n    layer4.tcp.destination_ports: + 11, 12, 13, 14, 15, 16, 17, 18, … and 2 more",
		},
		"escapes": {r(a), r("name: a, action: allow, description: \"x\\e[2Jy\\nz\""), "~ rule 1 a:\n    description: none → x [2Jy z"},
	}
	open := func(name string) ([]byte, error) {
		if name == "many" {
			var b strings.Builder
			for i := range 100 {
				fmt.Fprintf(&b, "10.0.1.%d\n", i)
			}
			return []byte(b.String()), nil
		}
		return []byte("10.0.0.1 # one\n10.0.0.3\n\n10.0.0.4\n"), nil
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := policy.Diff(policy.Document{Name: "old", Content: []byte(tt.before), Open: open}, policy.Document{Name: "new", Content: []byte(tt.after), Open: open})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(d.Lines(), "\n"); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if d.Empty() != (tt.want == "") {
				t.Errorf("empty: %t", d.Empty())
			}
		})
	}
}

func TestDiffRefuses(t *testing.T) {
	good, bad := policy.Document{Name: "good", Content: []byte("mode: detect")}, policy.Document{Name: "bad", Content: []byte("mode: maybe")}
	for _, both := range [][2]policy.Document{{good, bad}, {bad, good}} {
		_, err := policy.Diff(both[0], both[1])
		var all policy.Errors
		if !errors.As(err, &all) || !strings.HasPrefix(all.Error(), "bad:1:7: mode:") {
			t.Errorf("error %v", err)
		}
	}
}

// A policy does not differ from itself, in YAML or JSON, and every pair of policies
// that differ can be told.
func TestDiffOfGenerated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		document := func() policy.Document {
			text, err := yaml.Marshal(generator{t}.policy())
			if err != nil {
				t.Fatal(err)
			}
			return policy.Document{Name: "p", Content: text}
		}
		a, b := document(), document()
		if d, err := policy.Diff(a, a); err != nil || !d.Empty() {
			t.Fatalf("%v %+v", err, d)
		}
		d, err := policy.Diff(a, b)
		if err != nil {
			t.Fatal(err)
		}
		back, err := policy.Diff(b, a)
		if err != nil || back.Empty() != d.Empty() || len(back.Settings) != len(d.Settings) || len(back.Groups) != len(d.Groups) {
			t.Fatalf("%v: there %q, back %q", err, d.Lines(), back.Lines())
		}
	})
}

func TestDiffOnOneLine(t *testing.T) {
	before := policy.Document{Name: "p", Content: []byte("mode: detect\nrules: [{name: a, action: allow, layer4: {tcp: 22}}]\n")}
	after := policy.Document{Name: "p", Content: []byte("mode: prevent\nrules: [{name: a, action: block, layer4: {tcp: 22}}, {name: b, action: allow}]\n")}
	d, err := policy.Diff(before, after)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.Line(1000), "mode: detect → prevent; ~ rule 1 a: action: allow → block; + rule 2 b: allow everything"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := d.Line(80), "mode: detect → prevent; ~ rule 1 a: action: allow → block; and 1 more"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
