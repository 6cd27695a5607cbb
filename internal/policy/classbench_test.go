package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/classbench"
	"github.com/weirnet/weir/internal/policy"
)

func TestClassBench(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "corpora", "classbench")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the ClassBench sets are not here:", err)
	}
	sets, err := classbench.Sets(dir)
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, set := range sets {
		if !strings.HasSuffix(set, "_1k") {
			continue
		}
		tried++
		cases, err := classbench.Cases(dir, set)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			t.Run(c.Name, func(t *testing.T) {
				p, _, err := policy.Load(policy.Document{Name: c.Name, Content: c.Policy})
				if err != nil {
					t.Fatal(err)
				}
				for i, h := range c.Headers {
					d := p.Walk(&policy.Facts{
						Direction: policy.Forwarded, Source: h.Source, Destination: h.Destination,
						Protocol: h.Protocol, SourcePort: h.SourcePort, DestinationPort: h.DestinationPort,
					})
					if d.Index != c.First[i] {
						t.Fatalf("line %d, %+v: rule %d, want %d", i+1, h, d.Index, c.First[i])
					}
				}
				t.Logf("%d rules, %d headers", len(p.Rules), len(c.Headers))
			})
		}
	}
	if tried < 11 {
		t.Errorf("%d sets of 1k, want at least 11", tried)
	}
}
