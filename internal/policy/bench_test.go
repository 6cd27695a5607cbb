package policy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/internal/policy"
)

// ruleStyle writes rule number i.
type ruleStyle func(b *strings.Builder, i int)

// blockRule is a rule as people write it, with names on one in ten.
func blockRule(b *strings.Builder, i int) {
	fmt.Fprintf(b, `  - name: rule-%d
    description: number %d
    action: allow
    direction: outbound
    layer3:
      source: [10.%d.%d.0/24, 192.0.2.%d]
      destination: 203.0.%d.%d
    layer4:
      tcp: {destination_ports: [%d, 8000-8100]}
`, i, i, i/250%250, i%250, i%250, i/250%250, i%250, 1+i%60000)
	if i%10 == 0 {
		fmt.Fprintf(b, "    layer7:\n      tls: {server_names: [\"*.host%d.example\"]}\n", i)
	}
}

// flowRule is a rule as programs write it.
func flowRule(b *strings.Builder, i int) {
	fmt.Fprintf(b, "- {name: rule-%d, action: block, direction: inbound, layer3: {source: '2001:db8:%x::/48', destination: [group:office, 10.%d.%d.0/24]}, layer4: {udp: %d}}\n",
		i, i%65536, i/250%250, i%250, 1+i%60000)
}

func mixedRule(b *strings.Builder, i int) {
	if i%2 == 0 {
		blockRule(b, i)
		return
	}
	b.WriteString("  ")
	flowRule(b, i)
}

const officeGroup = "groups: {addresses: {office: [192.0.2.0/24, 198.51.100.0/24]}}\n"

func manyRulesAs(style ruleStyle, n int) []byte {
	var b strings.Builder
	b.WriteString("mode: prevent\n" + officeGroup + "rules:\n")
	for i := range n {
		style(&b, i)
	}
	return []byte(b.String())
}

func manyRules(n int) []byte { return manyRulesAs(blockRule, n) }

// asJSON is a policy in the other notation, in lines of a rule each.
func asJSON(text []byte) []byte {
	var p struct {
		Mode   string           `json:"mode"`
		Groups map[string]any   `json:"groups"`
		Rules  []map[string]any `json:"rules"`
	}
	if err := yaml.Unmarshal(text, &p); err != nil {
		panic(err)
	}
	out, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		panic(err)
	}
	return out
}

func benchmarkLoad(b *testing.B, doc policy.Document, rules int) {
	b.SetBytes(int64(len(doc.Content)))
	b.ReportAllocs()
	for b.Loop() {
		if p, _, err := policy.Load(doc); err != nil || len(p.Rules) != rules {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		for _, style := range []struct {
			name string
			rule ruleStyle
		}{{"block", blockRule}, {"flow", flowRule}, {"mixed", mixedRule}} {
			b.Run(fmt.Sprintf("%s/%d", style.name, n), func(b *testing.B) {
				benchmarkLoad(b, policy.Document{Name: "p", Content: manyRulesAs(style.rule, n)}, n)
			})
		}
		b.Run(fmt.Sprintf("json/%d", n), func(b *testing.B) {
			benchmarkLoad(b, policy.Document{Name: "p", Content: asJSON(manyRules(n))}, n)
		})
	}
	// What only yaml.v3 reads, for comparison.
	b.Run("anchored/10000", func(b *testing.B) {
		text := bytes.Replace(manyRules(10_000), []byte("prevent"), []byte("&mode prevent"), 1)
		benchmarkLoad(b, policy.Document{Name: "p", Content: text}, 10_000)
	})
}

// A list of 100,000 prefixes, in as many rules as there are.
func BenchmarkLoadList(b *testing.B) {
	var list, rules strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&list, "%d.%d.%d.0/24 # %d\n", 1+i%200, i/200%250, i/50_000*64+i%64, i)
	}
	rules.WriteString("groups: {addresses: {bad: {file: bad.txt}}}\nrules:\n")
	for i := range 10_000 {
		fmt.Fprintf(&rules, "- {name: r%d, action: block, layer3: {source: group:bad, destination: ['!group:bad', '!10.0.0.%d']}}\n", i, i%4)
	}
	open := func(string) ([]byte, error) { return []byte(list.String()), nil }
	for _, n := range []int{1, 10_000} {
		text := strings.Join(strings.SplitAfterN(rules.String(), "\n", n+3)[:n+2], "")
		b.Run(fmt.Sprintf("%d", n), func(b *testing.B) {
			benchmarkLoad(b, policy.Document{Name: "p", Content: []byte(text), Open: open}, n)
		})
	}
}

func BenchmarkWalk1000Rules(b *testing.B) {
	p, _, err := policy.Load(policy.Document{Name: "p", Content: manyRules(1000)})
	if err != nil {
		b.Fatal(err)
	}
	f := &policy.Facts{
		Direction: policy.Outbound, Source: netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("203.0.113.1"),
		Protocol: 6, SourcePort: 40000, DestinationPort: 8050,
	}
	b.ReportAllocs()
	for b.Loop() {
		if d := p.Walk(f); d.Action != policy.Block {
			b.Fatal(d)
		}
	}
}

// BenchmarkLayer7 judges a request by many rules about paths, and the connection before
// there is one.
func BenchmarkLayer7(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		var text strings.Builder
		text.WriteString("mode: prevent\nrules:\n")
		for i := range n {
			fmt.Fprintf(&text, "- {name: no-%d, action: block, layer4: {tcp: 5001}, layer7: {http: {hosts: h%d.example, paths: /no/%d/**}}}\n", i, i%7, i)
		}
		text.WriteString("- {name: pages, action: allow, layer4: {tcp: 5001}, layer7: {http: {paths: /page}}}\n")
		p, _, err := policy.Load(policy.Document{Name: "p", Content: []byte(text.String())})
		if err != nil {
			b.Fatal(err)
		}
		opened := &policy.Facts{Direction: policy.Inbound, Protocol: 6, SourcePort: 40000, DestinationPort: 5001}
		request := *opened
		request.Application = policy.Is(policy.AppHTTP)
		request.HTTP = policy.HTTPFacts{Host: policy.Is("h1.example"), Path: policy.Is("/page"), Method: policy.Is("GET"), Version: policy.Is("1.1")}
		x := policy.NewIndex(p)
		for _, facts := range []struct {
			name string
			of   *policy.Facts
		}{{"opened", opened}, {"request", &request}} {
			b.Run(fmt.Sprintf("walk/%s/%d", facts.name, n), func(b *testing.B) {
				for b.Loop() {
					p.Walk(facts.of)
				}
			})
			b.Run(fmt.Sprintf("index/%s/%d", facts.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					x.Walk(facts.of)
				}
			})
		}
		b.Run(fmt.Sprintf("build/%d", n), func(b *testing.B) {
			for b.Loop() {
				policy.NewIndex(p)
			}
		})
	}
}
