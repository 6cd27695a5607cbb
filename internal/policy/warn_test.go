package policy_test

import (
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

func TestWarnings(t *testing.T) {
	both := func(first, second string) string {
		return "rules:\n- {name: a, action: allow" + first + "}\n- {name: b, action: block" + second + "}"
	}
	tests := map[string]struct{ text, want string }{
		"none":                     {both(", layer4: tcp", ", layer4: udp"), ""},
		"behind everything":        {both("", ", layer4: udp"), "p:3: rule b: can never match: the rule a before it matches everything"},
		"behind the same":          {both(", layer4: {tcp: 80}", ", layer4: {tcp: 80}, direction: any"), "p:3: rule b: can never match: the rule a before it has the same criteria"},
		"behind a shadow":          {both(", mode: detect", ""), ""},
		"behind what expires":      {both(", expires: 2100-01-01T00:00:00Z", ""), ""},
		"expired":                  {rule("expires: 2020-01-01T00:00:00Z"), "p:1: rule a: has expired at 2020-01-01T00:00:00Z"},
		"layers contradict":        {rule("layer4: udp, layer7: {ssh: {}}"), "p:1: rule a: can never match: its layer7 criteria exist on tcp only, which its layer4 leaves out"},
		"protocols contradict":     {rule("layer3: {other_protocols: gre}, layer4: tcp"), "p:1: rule a: can never match: other_protocols are those"},
		"families":                 {rule("layer3: {source: 10.0.0.1, destination: '::1'}"), "p:1: rule a: can never match: no address family has"},
		"family of transport":      {rule("layer3: {source: 10.0.0.1}, layer4: icmpv6"), "p:1: rule a: can never match: no address family has"},
		"all excepted":             {rule(`layer3: {source: [10.1.0.0/16, "!10.0.0.0/8"]}`), "p:1: rule a: can never match: its exceptions cover all"},
		"http on 443":              {rule("layer4: {tcp: 443}, layer7: {http: a.example}"), "p:1: rule a: has http criteria on port 443"},
		"block by names":           {both(", layer4: udp", ", layer3: {destination_names: a.example}"), "p:3: rule b: blocks by destination_names"},
		"empty group":              {"groups: {addresses: {g: []}}", "p:1: the group g is empty"},
		"empty group in a rule":    {"groups: {addresses: {g: []}}\n" + rule("layer3: {source: group:g}"), "p:2: rule a: can never match: the groups of rules[0].layer3.source are empty"},
		"empty domains in a rule":  {"groups: {domains: {g: []}}\n" + rule("layer7: {domains: group:g}"), "p:2: rule a: the groups of rules[0].layer7.domains are empty"},
		"empty group, but not all": {"groups: {addresses: {g: []}}\n" + rule("layer3: {source: [group:g, 10.0.0.1]}"), "p:1: the group g is empty"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, warnings, err := policy.Load(policy.Document{Name: "p", Content: []byte(tt.text)})
			if err != nil {
				t.Fatal(err)
			}
			last := ""
			if len(warnings) > 0 {
				last = warnings[len(warnings)-1].String()
			}
			if !strings.HasPrefix(last, tt.want) || tt.want == "" && last != "" {
				t.Errorf("got  %v\nwant %s", warnings, tt.want)
			}
		})
	}
}

func TestEmptyGroupMatchesNothing(t *testing.T) {
	for _, criteria := range []string{"layer3: {source: group:none}", "layer7: {domains: group:nobody}, layer4: tcp"} {
		p := load(t, "groups: {addresses: {none: []}, domains: {nobody: []}}\n"+rule(criteria))
		if d := p.Walk(tcp(app(policy.AppSSH))); d.Action != policy.Block {
			t.Errorf("%s lets pass: %+v", criteria, d)
		}
	}
	p := load(t, "groups: {addresses: {none: []}}\n"+rule(`layer3: {source: "!group:none"}`))
	if d := p.Walk(tcp()); d.Action != policy.Allow {
		t.Errorf("all but nothing is not all: %+v", d)
	}
}
