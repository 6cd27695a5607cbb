package engine

import (
	"net/netip"
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

// TestLooksOf: a connection is always the same one's, and each has its part; but what may
// belong together in several connections is one's.
func TestLooksOf(t *testing.T) {
	l := &looks{all: []*look{{}, {}, {}}}
	tuple := func(protocol uint8, source, destination string) *packet.Tuple {
		s, d := netip.MustParseAddrPort(source), netip.MustParseAddrPort(destination)
		return &packet.Tuple{
			Protocol: protocol, Source: s.Addr(), Destination: d.Addr(), SourcePort: s.Port(), DestinationPort: d.Port(),
		}
	}
	asked, answered := tuple(packet.UDP, "192.0.2.1:4000", "224.0.0.252:5355"), tuple(packet.UDP, "192.0.2.7:5355", "192.0.2.1:4000")
	other := tuple(packet.UDP, "192.0.2.1:4000", "192.0.2.7:53")
	parts := map[*look]int{}
	for id := range uint64(3000) {
		if l.of(id, asked) != l.of(id*7, answered) {
			t.Fatalf("the query %d and an answer are looked into by two", id)
		}
		of := l.of(id, other)
		if of != l.of(id, tuple(packet.TCP, "[::1]:1", "[::2]:2")) {
			t.Fatalf("connection %d is looked into by two", id)
		}
		parts[of]++
	}
	for _, of := range l.all {
		if parts[of] != 1000 {
			t.Errorf("parts: %v", parts)
		}
	}
}
