package policy_test

import (
	"fmt"
	"net/netip"

	"github.com/weirnet/weir/internal/policy"
)

func ExampleLoad() {
	_, _, err := policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(`
mode: prevent
rules:
  - name: web
    action: allow
    layer4: {tcp: [80, 65536]}
`)})
	fmt.Println(err)
	// Output:
	// policy.yaml:6:24: rules[0].layer4.tcp[1]: 65536 is not a port; accepted: 0-65535 or a range 8000-8100
}

func ExamplePolicy_Walk() {
	p, _, err := policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(`
mode: prevent
rules:
  - name: example-only
    action: allow
    layer7: {tls: .example.com}
`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	facts := &policy.Facts{
		Direction: policy.Outbound, Protocol: 6, SourcePort: 40000, DestinationPort: 443,
		Source: netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("203.0.113.1"),
	}
	d := p.Walk(facts)
	fmt.Println(d.Reason, d.Wanted)

	facts.Application = policy.Is(policy.AppTLS)
	facts.TLS.ServerName = policy.Is("www.example.com")
	d = p.Walk(facts)
	fmt.Println(d.Action, d.Rule.Name)
	// Output:
	// pending application,tls.server_name
	// allow example-only
}
