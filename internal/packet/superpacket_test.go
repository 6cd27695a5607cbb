package packet_test

import (
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

func TestSuperpackets(t *testing.T) {
	data := string(make([]byte, 3001))
	plain := ipv4(packet.TCP, tcp(packet.ACK, data))
	long := changed4(changed4(ipv4(packet.TCP, tcp(packet.ACK, data)), 2, 0), 3, 0)
	long6 := changed(changed(ipv6(packet.TCP, tcp(packet.ACK, data)), 4, 0), 5, 0)
	jumbo := changed(changed(ipv6(0, cat(packet.TCP, 0, 0xc2, 4, 0, 0, 0, 0), tcp(packet.ACK, data)), 4, 0), 5, 0)
	inner := ipv4(packet.TCP, tcp(packet.ACK, data))
	frame := ethernet(packet.EtherTypeIPv4, inner)
	tunnel := func(port uint16, header []byte, carried ...[]byte) []byte {
		b := udp(string(join(append([][]byte{header}, carried...)...)))
		b[2], b[3] = byte(port>>8), byte(port)
		return ipv4(packet.UDP, b)
	}
	vxlan := cat(8, 0, 0, 0, 0, 0, 7, 0)
	udpless := ipv4(packet.UDP, changed(changed(udp(data), 4, 0), 5, 0))
	for _, c := range []struct {
		name           string
		frame          packet.Frame
		outcome        packet.Outcome
		packets, bytes int
	}{
		{"three segments", packet.Frame{Data: plain, GSOSize: 1448}, packet.Decoded, 3, 3*40 + 3001},
		{"one segment", packet.Frame{Data: plain, GSOSize: 3001}, packet.Decoded, 1, 40 + 3001},
		{"not one", packet.Frame{Data: plain}, packet.Decoded, 1, 40 + 3001},
		{"length 0", packet.Frame{Data: long, GSOSize: 1448}, packet.Decoded, 3, 3*40 + 3001},
		{"length 0, IPv6", packet.Frame{Data: long6, GSOSize: 1428}, packet.Decoded, 3, 3*60 + 3001},
		{"jumbo option does not reach the wire", packet.Frame{Data: jumbo, GSOSize: 1428}, packet.Decoded, 3, 3*60 + 3001},
		{"recorded", packet.Frame{Data: long, FromFile: true}, packet.Decoded, 1, 40 + 3001},
		{"recorded in part", packet.Frame{Data: long[:96], WireLength: len(long), FromFile: true}, packet.Decoded, 1, 40 + 3001},
		{"recorded, IPv6", packet.Frame{Data: jumbo, FromFile: true}, packet.Decoded, 1, 60 + 3001},
		{"length 0 without cause", packet.Frame{Data: long}, packet.Malformed, 0, 0},
		{"in VXLAN", packet.Frame{Data: tunnel(4789, vxlan, frame), GSOSize: 1398}, packet.Decoded, 3, 3*(28+8+14+40) + 3001},
		{"in VXLAN, on Linux's port", packet.Frame{Data: tunnel(8472, vxlan, frame), GSOSize: 1398}, packet.Decoded, 3, 3*(28+8+14+40) + 3001},
		{"in Geneve with an option", packet.Frame{Data: tunnel(6081, cat(2, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 1, 0, 0, 0, 0), frame), GSOSize: 1398}, packet.Decoded, 3, 3*(28+16+14+40) + 3001},
		{"in Geneve, not bridged", packet.Frame{Data: tunnel(6081, cat(0, 0, 0x08, 0, 0, 0, 7, 0), inner), GSOSize: 1398}, packet.Decoded, 3, 3*(28+8+40) + 3001},
		{"in GRE with a key", packet.Frame{Data: ipv4(47, cat(0x20, 0, 0x08, 0, 0, 0, 0, 9), inner), GSOSize: 1398}, packet.Decoded, 3, 3*(20+8+40) + 3001},
		{"IPv4 in IPv4", packet.Frame{Data: ipv4(4, inner), GSOSize: 1398}, packet.Decoded, 3, 3*(20+40) + 3001},
		{"IPv6 in IPv6", packet.Frame{Data: ipv6(41, ipv6(packet.TCP, tcp(packet.ACK, data))), GSOSize: 1398}, packet.Decoded, 3, 3*(40+60) + 3001},
		{"in a tunnel that is not known", packet.Frame{Data: tunnel(4790, vxlan, frame), GSOSize: 1398}, packet.Decoded, 3, 3*28 + 8 + 14 + 40 + 3001},
		{"in VXLAN, cut before the inner TCP", packet.Frame{Data: tunnel(4789, vxlan, frame[:40]), GSOSize: 8}, packet.Decoded, 6, 6*28 + 48},
		{"udp length 0", packet.Frame{Data: udpless, GSOSize: 1472}, packet.Decoded, 3, 3*28 + 3001},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.frame.Link = packet.LinkRaw
			var p packet.Packet
			if outcome := p.Decode(&c.frame); outcome != c.outcome || p.Packets != c.packets || outcome == packet.Decoded && p.Bytes != c.bytes {
				t.Errorf("%v (%v), %d packets of %d bytes; want %v, %d, %d", outcome, p.Reason, p.Packets, p.Bytes, c.outcome, c.packets, c.bytes)
			}
		})
	}
}

// TestRecordedAsItIs: what guards a host is not asked of a recording.
func TestRecordedAsItIs(t *testing.T) {
	b := changed(ipv4(packet.UDP, udp("")), 10, 1)
	if p := decoded(t, packet.Frame{Data: b, Link: packet.LinkRaw, FromFile: true}); p.Tuple != between(4, packet.UDP) {
		t.Errorf("%+v", p.Tuple)
	}
	b = ipv6(packet.UDP, udp(""))
	copy(b[8:], cat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1))
	if p := decoded(t, packet.Frame{Data: b, Link: packet.LinkRaw, FromFile: true}); p.Source.String() != "::ffff:10.0.0.1" {
		t.Errorf("%+v", p.Tuple)
	}
}
