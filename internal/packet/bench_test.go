package packet_test

import (
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"tcp4", ethernet(0x0800, ipv4(packet.TCP, tcp(packet.SYN, "data")))},
		{"udp4", ethernet(0x0800, ipv4(packet.UDP, udp("data")))},
		{"tcp4 vlan", ethernet(0x8100, cat(0, 7, 8, 0), ipv4(packet.TCP, tcp(packet.ACK, "data")))},
		{"tcp6", ethernet(0x86dd, ipv6(packet.TCP, tcp(packet.ACK, "data")))},
		{"tcp6 extensions", ethernet(0x86dd, ipv6(0, extension(60), extension(packet.TCP), tcp(packet.ACK, "data")))},
		{"icmp error", ethernet(0x0800, ipv4(packet.ICMP, cat(3, 1, 0, 0, 0, 0, 0, 0), ipv4(packet.UDP, udp(""))))},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := packet.Frame{Data: c.frame, Link: packet.LinkEthernet}
			var p packet.Packet
			b.ReportAllocs()
			for b.Loop() {
				if p.Decode(&f) != packet.Decoded {
					b.Fatal(p.Reason)
				}
			}
		})
	}
}

// BenchmarkFragments: a first fragment and its follower, a new datagram each time.
func BenchmarkFragments(b *testing.B) {
	first := ethernet(0x0800, fragment4(1, 0, true, udp("12345678")))
	later := ethernet(0x0800, fragment4(1, 16, false, []byte("more")))
	c := packet.NewFragments(4096)
	var p packet.Packet
	b.ReportAllocs()
	for b.Loop() {
		f := packet.Frame{Data: first, Link: packet.LinkEthernet}
		c.Follow(&p, p.Decode(&f), 0, start)
		f.Data = later
		if c.Follow(&p, p.Decode(&f), 0, start) != packet.Decoded {
			b.Fatal(p.Reason)
		}
	}
}
