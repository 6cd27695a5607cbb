package main

import (
	"net/netip"
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

// TestFrame decodes what is sent: addresses, ports, flags, and the checksums.
func TestFrame(t *testing.T) {
	four, six := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("2001:db8::7")
	for name, c := range map[string]tuple{
		"IPv4 SYN":     opening(four, netip.MustParseAddr("172.16.255.254"), 65535, 443),
		"IPv4 segment": {source: four, destination: four.Next(), sourcePort: 1, destinationPort: 2, flags: ack, seq: 0xffffffff, ack: 7, mark: 1},
		"IPv6 SYN":     opening(six, six.Next(), 4000, 80),
		"IPv6 segment": {source: six, destination: six.Next(), sourcePort: 9, destinationPort: 10, flags: ack, seq: 1, ack: 1 << 31, mark: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := c.frame()
			if len(b) != frameSize {
				t.Fatalf("%d bytes, want %d", len(b), frameSize)
			}
			var p packet.Packet
			if outcome := p.Decode(&packet.Frame{Data: b, Link: packet.LinkEthernet}); outcome != packet.Decoded {
				t.Fatalf("outcome %d, reason %v", outcome, p.Reason)
			}
			if p.Source != c.source || p.Destination != c.destination || p.SourcePort != c.sourcePort || p.DestinationPort != c.destinationPort {
				t.Errorf("decoded %v:%d → %v:%d", p.Source, p.SourcePort, p.Destination, p.DestinationPort)
			}
			ip := b[14:]
			header, addresses, length := ip[:20], ip[12:20], int(ip[2])<<8|int(ip[3])-20
			if c.source.Is6() {
				header, addresses, length = nil, ip[8:40], int(ip[4])<<8|int(ip[5])
			}
			if header != nil && fold(sum(0, header)) != 0xffff {
				t.Errorf("the checksum of IP is wrong")
			}
			tcp := ip[headerSize(c):][:length]
			if fold(sum(sum(6+uint32(length), addresses), tcp)) != 0xffff {
				t.Errorf("the checksum of TCP is wrong")
			}
			if want := c.flags&syn != 0; (length == 20) != want {
				t.Errorf("%d bytes of TCP", length)
			}
		})
	}
}

func headerSize(c tuple) int {
	if c.source.Is6() {
		return 40
	}
	return 20
}

// TestTuplesDiffer: two that are equal would be one connection.
func TestTuplesDiffer(t *testing.T) {
	const count = 1 << 15
	sets := map[string][]tuple{"some": someTuples(1_000_000), "list": listTuples(1<<14, 100_000)}
	for _, k := range kinds {
		sets[k.name] = k.tuples(count, 100_000)
	}
	for name, set := range sets {
		seen := make(map[tuple]bool, len(set))
		for _, c := range set {
			if seen[c] {
				t.Fatalf("%s: %+v comes twice", name, c)
			}
			seen[c] = true
		}
	}
}
