package policy_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/weirnet/weir/internal/policy"
)

// The YAML files of this repository, in as many hands.
func TestPlainReaderOnFiles(t *testing.T) {
	taken := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".yaml") && !strings.HasSuffix(path, ".yml") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var difference string
		if taken[path], difference = policy.ComparePlain(string(text)); difference != "" {
			t.Errorf("%s: %s", path, difference)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"../../examples/policy.yaml", "../../internal/policy/testdata/example/policy.yaml", "../../extension/connectionpolicyextension/testdata/policy.yaml"} {
		if !taken[path] {
			t.Errorf("%s is not plain", path)
		}
	}
}

// Policies of all keys, as people's tools write them.
func TestPlainReaderOnGeneratedPolicies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := generator{t}.policy()
		asYAML, err := yaml.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := json.MarshalIndent(doc, "", rapid.SampledFrom([]string{"", "  "}).Draw(t, "indent"))
		if err != nil {
			t.Fatal(err)
		}
		if difference := policy.CompareJSON(string(asJSON)); difference != "" {
			t.Fatalf("%s: %s", asJSON, difference)
		}
		// JSON is YAML, too: that of one line is a flow mapping.
		compact, _ := json.Marshal(doc)
		for _, text := range [][]byte{asYAML, compact} {
			if taken, difference := policy.ComparePlain(string(text)); !taken || difference != "" {
				t.Fatalf("%s: taken %t, %s", text, taken, difference)
			}
		}
	})
}

// What yaml.v3 reads because of one word is the policy that the plain reader reads.
func TestBothReadersMakeOnePolicy(t *testing.T) {
	plain := manyRulesAs(mixedRule, 500)
	anchored := strings.Replace(string(plain), "prevent", "&mode prevent", 1)
	if taken, _ := policy.ComparePlain(anchored); taken {
		t.Fatal("the plain reader takes an anchor")
	}
	a, b := load(t, string(plain)), load(t, anchored)
	for i := range a.Rules {
		if x, y := fmt.Sprintf("%+v", a.Rules[i]), fmt.Sprintf("%+v", b.Rules[i]); a.Rules[i].Layer7 == nil && x != y {
			t.Fatalf("%s\n%s", x, y)
		}
	}
}

func TestLoadSharesLists(t *testing.T) {
	p := load(t, `groups: {addresses: {a: [10.0.0.0/8, 192.0.2.1], b: 198.51.100.0/24, wide: 172.16.0.1-172.31.255.253}}
rules:
- {name: r0, action: allow, layer3: {source: group:a, destination: [192.0.2.1, 10.0.0.0/8]}}
- {name: r1, action: allow, layer3: {source: [group:a, group:b], destination: [group:b, 192.0.2.1, 10.0.0.0/8, 10.1.0.0/16]}}
- {name: r2, action: allow, layer3: {source: '!group:a', destination: ["!10.0.0.0/8", "!192.0.2.1"]}}
- {name: r3, action: allow, layer3: {source: [group:wide, 1.1.1.1], destination: [1.1.1.1, group:wide]}}
- {name: r4, action: allow, layer3: {source: [group:wide, 1.1.1.2], destination: group:b}}
- {name: r5, action: allow, layer3: {source: [0.0.0.0/0, "::/0"]}}
`)
	for i, r := range p.Rules[:4] {
		if r.Source.ID() != r.Destination.ID() {
			t.Errorf("rule %d: %v and %v are two lists", i, r.Source, r.Destination)
		}
	}
	seen := map[policy.AddressSetID]int{}
	for i, r := range p.Rules {
		if before, twice := seen[r.Source.ID()]; twice {
			t.Errorf("%v of rule %d is that of rule %d, %v", r.Source, i, before, p.Rules[before].Source)
		}
		seen[r.Source.ID()] = i
	}
	if got := fmt.Sprint(p.Rules[1].Source.Include); got != "[10.0.0.0/8 192.0.2.1/32 198.51.100.0/24]" {
		t.Error(got)
	}
}

// Unions of one large group are put together once, and count once.
func TestLoadSharesUnions(t *testing.T) {
	var b strings.Builder
	b.WriteString("groups: {addresses: {bad: {file: bad}}}\nrules:\n")
	for i := range 3000 {
		fmt.Fprintf(&b, "- {name: r%d, action: block, layer3: {source: [group:bad, 10.0.0.%d]}}\n", i, i%3)
	}
	var list strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&list, "11.%d.%d.0/24\n", i/250, i%250)
	}
	p, _, err := policy.Load(policy.Document{Content: []byte(b.String()), Open: func(string) ([]byte, error) { return []byte(list.String()), nil }})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.Rules[2999].Source.Include); n != 50_001 || p.Rules[0].Source.ID() != p.Rules[2997].Source.ID() {
		t.Errorf("%d prefixes, or two lists", n)
	}
}

// A policy in force for months must not keep the text it was read from.
func TestPolicyKeepsNoText(t *testing.T) {
	example, err := os.ReadFile("testdata/example/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	more := `
  - name: every-text
    description: a description
    action: allow
    layer3: {source: ["group:office", "!192.0.2.1"], destination_names: [a.example, "*.b.example", a.*.example, "!c.example"]}
    layer7:
      domains: [d.example, "!*.e.example"]
      http: {paths: [/exact, "/glob/**", "~^/re"], methods: [GET, m], headers: {x-a: [exact, "glob*x"]}}
      tls: {certificate: {issuer_names: [exact, "glob*"], authority_sha256: ` + strings.Repeat("0a", 32) + `}}
      ssh: {public_keys: "SHA256:uNiVztksCsDhcc0u9e8BrDaOKVPYMSHAsKoeEUlQnSk", software: OpenSSH}
`
	plain := append(example, more...)
	var doc any
	if err := yaml.Unmarshal(plain, &doc); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	const size, copies = 4 << 20, 8
	for name, text := range map[string][]byte{
		"plain": append(plain, strings.Repeat("# a comment that is long\n", size/25)...),
		"JSON":  append(asJSON, strings.Repeat(" ", size)...),
	} {
		t.Run(name, func(t *testing.T) {
			var kept []*policy.Policy
			before := heap()
			for range copies {
				p, _, err := policy.Load(policy.Document{Name: "p", Content: text, Open: openUnder("testdata/example")})
				if err != nil {
					t.Fatal(err)
				}
				kept = append(kept, p)
			}
			if grown := heap() - before; grown > size {
				t.Errorf("%d policies keep %d bytes", len(kept), grown)
			}
			runtime.KeepAlive(kept)
			runtime.KeepAlive(text)
		})
	}
}

// heap is how many bytes are in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
