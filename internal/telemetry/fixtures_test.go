package telemetry_test

import (
	"flag"
	"net/netip"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

var update = flag.Bool("update", false, "write the golden files anew")

var began = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func origin() telemetry.Origin {
	resource := pcommon.NewResource()
	resource.Attributes().PutStr("host.name", "gate")
	return telemetry.Origin{
		Resource: resource, Host: "host-1",
		ScopeName: "example.com/receiver", ScopeVersion: "1.2.3",
		SchemaURL: "https://opentelemetry.io/schemas/1.41.0",
	}
}

// connection is a record of that kind about an HTTPS connection that the rule
// web-api allows.
func connection(kind telemetry.Kind) telemetry.Connection {
	return telemetry.Connection{
		Kind: kind,
		Time: began.Add(1200 * time.Millisecond), Observed: began.Add(1201 * time.Millisecond),
		ID: 0x1f2e, Direction: packet.Outbound, Interface: "eth0", Count: 1,
		Tuple: packet.Tuple{
			Source: netip.MustParseAddr("192.0.2.2"), SourcePort: 41822,
			Destination: netip.MustParseAddr("203.0.113.7"), DestinationPort: 443,
			Protocol: packet.TCP,
		},
		Judgement: telemetry.Judgement{
			Rule: "web-api", Generation: 7, Prevent: true,
			Verdict: telemetry.Allowed, Action: telemetry.Allow, Reason: telemetry.ReasonRule,
		},
		FirstSeen: began, LastSeen: began.Add(1200 * time.Millisecond),
		Source:      telemetry.Counts{Packets: 12, Bytes: 3120},
		Destination: telemetry.Counts{Packets: 40, Bytes: 45000},
	}
}

func ended() telemetry.Connection {
	c := connection(telemetry.ConnectionEnd)
	c.End = telemetry.EndFIN
	return c
}

func icmp() telemetry.Connection {
	c := connection(telemetry.ConnectionStart)
	c.Tuple = packet.Tuple{
		Source: netip.MustParseAddr("2001:db8::1"), Destination: netip.MustParseAddr("2001:db8::2"),
		Protocol: packet.ICMPv6, ICMPType: 128, ICMPID: 77,
	}
	c.Direction = packet.Inbound
	c.Judgement = telemetry.Judgement{
		Generation: 7, Verdict: telemetry.Detected, Action: telemetry.Block, Reason: telemetry.ReasonDefault,
	}
	return c
}

func gre() telemetry.Connection {
	c := connection(telemetry.ConnectionStart)
	c.Tuple = packet.Tuple{
		Source: netip.MustParseAddr("192.0.2.2"), Destination: netip.MustParseAddr("203.0.113.7"), Protocol: 47,
	}
	c.Direction = packet.Forwarded
	// Without any rules.
	c.Judgement = telemetry.Judgement{Verdict: telemetry.Detected}
	return c
}

func flood() telemetry.Connection {
	c := connection(telemetry.ConnectionStart)
	c.Direction = packet.Inbound
	c.Count = 1204
	c.Tuple.SourcePort = 0
	c.Judgement = telemetry.Judgement{
		Rule: "no-scans", Generation: 7, Prevent: true,
		Verdict: telemetry.Blocked, Action: telemetry.Block, Reason: telemetry.ReasonRule,
		ShadowRule: "stricter", ShadowAction: telemetry.Allow,
	}
	return c
}

func cut() telemetry.Connection {
	c := ended()
	c.End = telemetry.EndBlocked
	c.Judgement.Verdict = telemetry.Blocked
	c.Judgement.Action = telemetry.Block
	c.Judgement.Reason = telemetry.ReasonDefault
	c.Judgement.Rule = ""
	c.Destination = telemetry.Counts{}
	return c
}
