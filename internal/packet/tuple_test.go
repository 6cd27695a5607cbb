package packet_test

import (
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

func TestReversed(t *testing.T) {
	forth := between(4, packet.TCP)
	forth.Zone.Outer = 7
	back := forth.Reversed()
	if back.Source != forth.Destination || back.SourcePort != forth.DestinationPort || back.Zone != forth.Zone || back.Reversed() != forth {
		t.Errorf("%+v", back)
	}
	echo := packet.Tuple{Protocol: packet.ICMP, ICMPType: 8, ICMPID: 7}
	if echo.Reversed() != echo {
		t.Errorf("%+v", echo.Reversed())
	}
}

// TestNames: each outcome and reason has a name of its own.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for o := packet.Decoded; o <= packet.UnknownLink; o++ {
		seen[o.String()] = true
	}
	for r := packet.Short; r <= packet.BadTag; r++ {
		seen[r.String()] = true
	}
	if len(seen) != 5+15 || seen["unknown"] || seen[""] {
		t.Errorf("%v", seen)
	}
	if packet.Outcome(99).String() != "unknown" || (packet.BadTag+1).String() != "unknown" {
		t.Error("what is no reason has the name of one")
	}
}
