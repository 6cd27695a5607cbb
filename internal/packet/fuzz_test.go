package packet_test

import (
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

// FuzzDecode: whatever the bytes, there is an answer; it stays the same however
// the packet struct was used before, its offsets are within the frame, and less
// of the frame gives the same tuple or none.
func FuzzDecode(f *testing.F) {
	syn := ipv4(packet.TCP, tcp(packet.SYN, "data"))
	for _, data := range [][]byte{
		syn,
		ipv4(packet.ICMP, cat(3, 1, 0, 0, 0, 0, 0, 0), ipv4(packet.UDP, udp(""))),
		ipv6(0, extension(60), extension(44), fragmentHeader(60, 1, 0, true), extension(packet.UDP), udp("")),
		ipv6(51, cat(packet.ICMPv6, 0, 0, 0, 0, 0, 0, 0), cat(2, 0, 0, 0, 0, 0, 0, 0), ipv6(packet.TCP, tcp(packet.ACK, ""))),
		ethernet(0x88a8, cat(0, 7, 0x81, 0, 0, 8, 8, 0), syn),
	} {
		f.Add(data, uint16(packet.LinkRaw), uint16(0), uint16(0), false)
		f.Add(data, uint16(packet.LinkEthernet), uint16(3000), uint16(100), true)
	}
	f.Add(join(cat(0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0), syn), uint16(packet.LinkCooked), uint16(0), uint16(0), true)
	f.Add(join(cat(8, 0), make([]byte, 18), syn), uint16(packet.LinkCooked2), uint16(0), uint16(0), true)
	f.Add(join(cat(2, 0, 0, 0), syn), uint16(packet.LinkNull), uint16(0), uint16(0), true)
	fragments := packet.NewFragments(16)
	f.Fuzz(func(t *testing.T, data []byte, link, wire, gso uint16, fromFile bool) {
		frame := packet.Frame{Data: data, Link: packet.LinkType(link), WireLength: int(wire), GSOSize: int(gso), FromFile: fromFile}
		var p, again packet.Packet
		again.Bytes, again.IsFragment, again.HasQuote = 1, true, true
		outcome := p.Decode(&frame)
		if again.Decode(&frame) != outcome || again != p {
			t.Fatalf("%+v, then %+v", p, again)
		}
		checkBounds(t, &p, outcome, &frame)
		p.TransportChecksum(data)

		for n := range data {
			cut := frame
			cut.Data, cut.WireLength = data[:n], max(len(data), int(wire))
			var less packet.Packet
			answer := less.Decode(&cut)
			if answer == packet.Decoded && (outcome != packet.Decoded || less.Tuple != p.Tuple || less.Bytes != p.Bytes) {
				t.Fatalf("%d of %d bytes: %+v, not %+v", n, len(data), less, p)
			}
			if outcome == packet.Decoded && answer == packet.Malformed && less.Reason != packet.Cut {
				t.Fatalf("%d of %d bytes: %v", n, len(data), less.Reason)
			}
		}
		if followed := fragments.Follow(&p, outcome, 0, start); followed != outcome && outcome != packet.LaterFragment {
			t.Fatalf("%v becomes %v", outcome, followed)
		}
	})
}

func checkBounds(t *testing.T, p *packet.Packet, outcome packet.Outcome, f *packet.Frame) {
	t.Helper()
	if (outcome == packet.Malformed) != (p.Reason != 0) {
		t.Fatalf("%v for %v", outcome, p.Reason)
	}
	if outcome != packet.Decoded && outcome != packet.LaterFragment {
		return
	}
	wire := max(f.WireLength, len(f.Data))
	if p.Network < 0 || p.Transport < p.Network+20 || p.Transport > p.Network+packet.MaxHeaderBytes ||
		p.Payload < p.Transport || p.PayloadLength < 0 || p.Payload+p.PayloadLength > wire {
		t.Fatalf("network %d, transport %d, payload %d and %d more of %d", p.Network, p.Transport, p.Payload, p.PayloadLength, wire)
	}
	if p.Packets < 1 || p.Bytes < 20 || p.Packets == 1 && p.Bytes > wire {
		t.Fatalf("%d packets, %d bytes", p.Packets, p.Bytes)
	}
	if !p.Source.IsValid() || p.Source.Is4() != p.Destination.Is4() || p.Source.Is4In6() && !f.FromFile || p.Source.Is4() != (p.IPVersion == 4) {
		t.Fatalf("%+v", p.Tuple)
	}
	if (outcome == packet.LaterFragment) != (p.IsFragment && p.FragmentOffset > 0) {
		t.Fatalf("%v at offset %d", outcome, p.FragmentOffset)
	}
}
