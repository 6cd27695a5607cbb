package policy_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

// manyRules are rules as people write them: addresses, ports, and names on one
// in ten.
func manyRules(n int) []byte {
	var b strings.Builder
	b.WriteString("mode: prevent\nrules:\n")
	for i := range n {
		fmt.Fprintf(&b, `  - name: rule-%d
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
			fmt.Fprintf(&b, "    layer7:\n      tls: {server_names: [\"*.host%d.example\"]}\n", i)
		}
	}
	return []byte(b.String())
}

func BenchmarkLoad10000Rules(b *testing.B) {
	text := manyRules(10_000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, _, err := policy.Load(policy.Document{Name: "p", Content: text}); err != nil {
			b.Fatal(err)
		}
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
