package telemetry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/weirnet/weir/internal/telemetry"
)

func ExampleConnection_Line() {
	verdict := connection(telemetry.ConnectionVerdict)
	verdict.Judgement.Verdict, verdict.Judgement.Action = telemetry.Blocked, telemetry.Block
	for _, c := range []telemetry.Connection{
		connection(telemetry.ConnectionStart), icmp(), gre(), flood(), verdict,
		connection(telemetry.ConnectionUpdate), ended(), cut(),
	} {
		fmt.Println(c.Line())
	}
	// Output:
	// allowed   outbound tcp 192.0.2.2:41822 → 203.0.113.7:443 eth0 rule=web-api
	// detected  inbound  icmpv6 2001:db8::1 → 2001:db8::2 type 128/0 eth0 would block reason=default
	// detected  forwarded 47 192.0.2.2 → 203.0.113.7 eth0
	// blocked   inbound  tcp 192.0.2.2:any → 203.0.113.7:443 eth0 rule=no-scans shadow=allow:stricter ×1204 in 1.2s
	// verdict   outbound tcp 192.0.2.2:41822 → 203.0.113.7:443 eth0 now blocked rule=web-api
	// update    outbound tcp 192.0.2.2:41822 → 203.0.113.7:443 eth0 rule=web-api ↑ 3.1 kB/12 ↓ 45 kB/40
	// end       outbound tcp 192.0.2.2:41822 → 203.0.113.7:443 eth0 rule=web-api fin 1.2s ↑ 3.1 kB/12 ↓ 45 kB/40
	// end       outbound tcp 192.0.2.2:41822 → 203.0.113.7:443 eth0 reason=default blocked 1.2s ↑ 3.1 kB/12 ↓ 0 B/0
}

func ExamplePolicyChange_Line() {
	fmt.Println((&telemetry.PolicyChange{
		Change: telemetry.PolicyLoaded, Generation: 7, Source: "policy.yaml", Detail: "12 rules",
	}).Line())
	// Output:
	// policy    loaded generation 7 from policy.yaml: 12 rules
}

func TestLineUnits(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9951: "10 kB", 999499: "999 kB", 999500: "1.0 MB",
		1_500_000_000: "1.5 GB", 1<<64 - 1: "18 EB",
	} {
		c := ended()
		c.Source.Bytes = n
		assert.Contains(t, c.Line(), "↑ "+want+"/12 ")
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 1234 * time.Nanosecond: "1µs", 12345 * time.Microsecond: "12.3ms",
		1234 * time.Millisecond: "1.23s", 12345 * time.Millisecond: "12.3s", 3*time.Hour + 1*time.Millisecond: "3h0m0s",
	} {
		c := ended()
		c.LastSeen = c.FirstSeen.Add(d)
		assert.Contains(t, c.Line(), " fin "+want+" ↑")
	}
}

func BenchmarkLine(b *testing.B) {
	c := ended()
	b.ReportAllocs()
	for b.Loop() {
		_ = c.Line()
	}
}
