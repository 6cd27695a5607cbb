package policy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/classbench"
	"github.com/weirnet/weir/internal/policy"
)

// inexpressible are the sets whose protocol column is shifted: they restrict the
// ports of IGMP and others, which the policy language cannot.
var inexpressible = map[string]bool{"fw2_1k": true, "fw4_1k": true}

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
		t.Run(set, func(t *testing.T) {
			text, err := classbench.Policy(dir, set)
			if inexpressible[set] {
				if !errors.Is(err, classbench.ErrPorts) {
					t.Fatalf("error %v, want that ports are restricted", err)
				}
				t.Log("not expressible:", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p, _, err := policy.Load(policy.Document{Name: set, Content: text})
			if err != nil {
				t.Fatal(err)
			}
			headers, first, err := classbench.Trace(dir, set)
			if err != nil {
				t.Fatal(err)
			}
			for i, h := range headers {
				d := p.Walk(&policy.Facts{
					Direction: policy.Forwarded, Source: h.Source, Destination: h.Destination,
					Protocol: h.Protocol, SourcePort: h.SourcePort, DestinationPort: h.DestinationPort,
				})
				if d.Index != first[i] {
					t.Fatalf("line %d, %+v: rule %d, want %d", i+1, h, d.Index, first[i])
				}
			}
			t.Logf("%d rules, %d headers", len(p.Rules), len(headers))
		})
	}
	if tried < 11 {
		t.Errorf("%d sets of 1k, want at least 11", tried)
	}
}
