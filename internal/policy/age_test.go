package policy_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

func TestNextAge(t *testing.T) {
	const rules = `
rules:
  - {name: elsewhere, action: block, layer3: {destination: 192.0.2.9}, layer4: {tcp: {duration: {over: 1s}}}}
  - {name: shadow, action: block, mode: detect, layer4: {tcp: {destination_ports: 80, duration: {over: 30s}}}}
  - {name: long, action: block, layer4: {tcp: {destination_ports: [80, 81], duration: {over: 1m}}}}
  - {name: longer, action: block, layer4: {tcp: {duration: {over: 1h}}}}
  - {name: web, action: allow, layer4: {tcp: [80, 82]}}
  - {name: behind, action: block, layer4: {tcp: {duration: {over: 2s}}}}
`
	p, _, err := policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(rules)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		port uint16
		age  time.Duration
		want time.Duration
	}{
		{"a shadow rule", 80, 0, 30 * time.Second},
		{"at its age", 80, 30 * time.Second, 30 * time.Second},
		{"after it", 80, 30*time.Second + 1, time.Minute},
		{"the second port", 81, 3 * time.Second, time.Minute},
		{"before a rule that decides", 82, 0, time.Hour},
		{"none decides", 83, 0, 2 * time.Second},
		{"cut already", 81, 2 * time.Minute, 0},
	} {
		f := policy.Facts{
			Direction: policy.Inbound, Protocol: 6, Age: c.age, SourcePort: 40000, DestinationPort: c.port,
			Source: netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("192.0.2.2"),
		}
		if got := p.NextAge(&f); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
