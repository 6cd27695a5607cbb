package packet_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

const (
	ip4 = 0x0800
	ip6 = 0x86dd
)

// TestDecode: shapes that decode, and to what.
func TestDecode(t *testing.T) {
	syn := ipv4(packet.TCP, tcp(packet.SYN, ""))
	in := func(zone packet.Zone, tuple packet.Tuple) packet.Tuple {
		tuple.Zone = zone
		return tuple
	}
	for _, c := range []struct {
		name    string
		link    packet.LinkType
		frame   []byte
		tuple   packet.Tuple
		payload string
		bytes   int
		options bool
	}{
		{name: "tcp", frame: ethernet(ip4, ipv4(packet.TCP, tcp(packet.ACK, "hello"))), tuple: between(4, packet.TCP), payload: "hello", bytes: 45},
		{name: "fast open", frame: ethernet(ip4, ipv4(packet.TCP, tcp(packet.SYN, "hello"))), tuple: between(4, packet.TCP), payload: "hello", bytes: 45},
		{name: "padding is not payload", frame: ethernet(ip4, syn, make([]byte, 6)), tuple: between(4, packet.TCP), bytes: 40},
		{name: "tcp options", frame: ethernet(ip4, ipv4(packet.TCP, changed(tcp(packet.SYN, "\x02\x04\x05\xb4hi"), 12, 6<<4))), tuple: between(4, packet.TCP), payload: "hi", bytes: 46},
		{name: "ipv4 options", frame: ethernet(ip4, ipv4With(cat(1, 1, 1, 0), packet.UDP, udp("x"))), tuple: between(4, packet.UDP), payload: "x", bytes: 33, options: true},
		{name: "longest ipv4 header", frame: ethernet(ip4, ipv4With(bytes.Repeat(cat(1), 40), packet.UDP, udp("x"))), tuple: between(4, packet.UDP), payload: "x", bytes: 69, options: true},
		{name: "udp6", frame: ethernet(ip6, ipv6(packet.UDP, udp("x"))), tuple: between(6, packet.UDP), payload: "x", bytes: 49},
		{name: "udp shorter than its packet", frame: ethernet(ip4, ipv4(packet.UDP, udp("x"), []byte("surplus"))), tuple: between(4, packet.UDP), payload: "x", bytes: 36},
		{name: "vlan", frame: ethernet(0x8100, cat(0xe0, 7, 8, 0), syn), tuple: in(packet.Zone{Outer: 7}, between(4, packet.TCP)), bytes: 40},
		{name: "priority tag", frame: ethernet(0x8100, cat(0xe0, 0, 8, 0), syn), tuple: between(4, packet.TCP), bytes: 40},
		{name: "qinq", frame: ethernet(0x88a8, cat(0x0f, 0xff, 0x81, 0, 0, 8, 8, 0), syn), tuple: in(packet.Zone{Outer: 4095, Inner: 8}, between(4, packet.TCP)), bytes: 40},
		{name: "priority tag around a vlan", frame: ethernet(0x8100, cat(0, 0, 0x81, 0, 0, 8, 8, 0), syn), tuple: in(packet.Zone{Outer: 8}, between(4, packet.TCP)), bytes: 40},
		{name: "raw 4", link: packet.LinkRaw, frame: syn, tuple: between(4, packet.TCP), bytes: 40},
		{name: "raw 6", link: packet.LinkDLTRaw, frame: ipv6(packet.UDP, udp("")), tuple: between(6, packet.UDP), bytes: 48},
		{name: "ipv4 link", link: packet.LinkIPv4, frame: syn, tuple: between(4, packet.TCP), bytes: 40},
		{name: "ipv6 link", link: packet.LinkIPv6, frame: ipv6(packet.UDP, udp("")), tuple: between(6, packet.UDP), bytes: 48},
		{name: "null, little endian", link: packet.LinkNull, frame: join(cat(2, 0, 0, 0), syn), tuple: between(4, packet.TCP), bytes: 40},
		{name: "null, big endian", link: packet.LinkNull, frame: join(cat(0, 0, 0, 30), ipv6(packet.UDP, udp(""))), tuple: between(6, packet.UDP), bytes: 48},
		{name: "loop", link: packet.LinkLoop, frame: join(cat(0, 0, 0, 24), ipv6(packet.UDP, udp(""))), tuple: between(6, packet.UDP), bytes: 48},
		{name: "cooked", link: packet.LinkCooked, frame: join(cat(0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0), syn), tuple: between(4, packet.TCP), bytes: 40},
		{name: "cooked with a tag", link: packet.LinkCooked, frame: join(cat(0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x81, 0, 0, 9, 8, 0), syn), tuple: in(packet.Zone{Outer: 9}, between(4, packet.TCP)), bytes: 40},
		{name: "cooked 2", link: packet.LinkCooked2, frame: join(cat(8, 0), make([]byte, 18), syn), tuple: between(4, packet.TCP), bytes: 40},
		{name: "sctp by number", frame: ethernet(ip4, ipv4(132, make([]byte, 12))), tuple: between(4, 132), payload: strings.Repeat("\x00", 12), bytes: 32},
		{name: "esp by number", frame: ethernet(ip6, ipv6(50, make([]byte, 8))), tuple: between(6, 50), payload: strings.Repeat("\x00", 8), bytes: 48},
		{name: "ah of ipv4 by number", frame: ethernet(ip4, ipv4(51, make([]byte, 4))), tuple: between(4, 51), payload: strings.Repeat("\x00", 4), bytes: 24},
		{name: "mobility by number", frame: ethernet(ip6, ipv6(135, extension(packet.TCP), tcp(packet.SYN, ""))), tuple: between(6, 135), payload: string(extension(packet.TCP)) + string(tcp(packet.SYN, "")), bytes: 68},
		{name: "no next header", frame: ethernet(ip6, ipv6(59)), tuple: between(6, 59), bytes: 40},
		{name: "ah of ipv6", frame: ethernet(ip6, ipv6(51, cat(packet.UDP, 4), make([]byte, 22), udp("x"))), tuple: between(6, packet.UDP), payload: "x", bytes: 73, options: true},
		{
			name: "every extension header", frame: ethernet(ip6, ipv6(0, extension(60), extension(43), extension(60), extension(51), cat(44, 0, 0, 0, 0, 0, 0, 0), fragmentHeader(packet.UDP, 1, 0, false), udp("x"))),
			tuple: between(6, packet.UDP), payload: "x", bytes: 40 + 48 + 9, options: true,
		},
		{name: "eight extension headers", frame: ethernet(ip6, ipv6(60, extensions(8, packet.UDP), udp("x"))), tuple: between(6, packet.UDP), payload: "x", bytes: 113, options: true},
		{name: "atomic fragment", frame: ethernet(ip6, ipv6(44, fragmentHeader(packet.UDP, 1, 0, false), udp("x"))), tuple: between(6, packet.UDP), payload: "x", bytes: 57, options: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.link == 0 && !strings.HasPrefix(c.name, "null") {
				c.link = packet.LinkEthernet
			}
			p := decoded(t, packet.Frame{Data: c.frame, Link: c.link})
			if p.Tuple != c.tuple {
				t.Errorf("tuple %+v, want %+v", p.Tuple, c.tuple)
			}
			if got := p.CapturedPayload(c.frame); string(got) != c.payload || p.PayloadLength != len(c.payload) {
				t.Errorf("payload %q of %d bytes, want %q", got, p.PayloadLength, c.payload)
			}
			if p.Bytes != c.bytes || p.Packets != 1 || p.HasOptions != c.options {
				t.Errorf("%d bytes, %d packets, options %t; want %d, 1, %t", p.Bytes, p.Packets, p.HasOptions, c.bytes, c.options)
			}
			if p.Protocol == packet.TCP && (p.Seq != 0x01020304 || p.Ack != 0x05060708) {
				t.Errorf("seq %#x, ack %#x", p.Seq, p.Ack)
			}
		})
	}
}

func decoded(t *testing.T, f packet.Frame) (p packet.Packet) {
	t.Helper()
	if outcome := p.Decode(&f); outcome != packet.Decoded {
		t.Fatalf("%v, %v: %x", outcome, p.Reason, f.Data)
	}
	return p
}

// TestMalformed: shapes that do not, and why.
func TestMalformed(t *testing.T) {
	syn := func() []byte { return ipv4(packet.TCP, tcp(packet.SYN, "")) }
	mapped := ipv6(packet.UDP, udp(""))
	copy(mapped[8:], cat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1))
	for _, c := range []struct {
		name  string
		frame []byte
		why   packet.Reason
	}{
		{"no link header", make([]byte, 13), packet.Short},
		{"no ip header", ethernet(ip4), packet.Short},
		{"cut tag", ethernet(0x8100, cat(0, 7, 8)), packet.Short},
		{"an inner id that no VLAN has", ethernet(0x88a8, cat(0, 7, 0x81, 0, 0x0f, 0xff, 8, 0), syn()), packet.BadTag},
		{"half an ipv6 header", ethernet(ip6, ipv6(packet.UDP)[:39]), packet.Short},
		{"wrong version", ethernet(ip4, changed(syn(), 0, 0x65)), packet.BadVersion},
		{"wrong version 6", ethernet(ip6, changed(ipv6(packet.UDP, udp("")), 0, 0x40)), packet.BadVersion},
		{"ipv4 header of 16 bytes", ethernet(ip4, changed4(syn(), 0, 0x44)), packet.BadHeaderLength},
		{"ipv4 header longer than the frame", ethernet(ip4, changed(ipv4(packet.UDP, udp("")), 0, 0x4f)), packet.Short},
		{"ipv4 header longer than the packet", ethernet(ip4, changed(ipv4(packet.UDP, udp("")), 0, 0x4f), make([]byte, 40)), packet.BadTotalLength},
		{"total length beyond the frame", ethernet(ip4, changed4(syn(), 3, 41)), packet.BadTotalLength},
		{"total length 0", ethernet(ip4, changed4(syn(), 3, 0)), packet.BadTotalLength},
		{"payload length beyond the frame", ethernet(ip6, changed(ipv6(packet.UDP, udp("")), 5, 9)), packet.BadTotalLength},
		{"payload length 0", ethernet(ip6, changed(ipv6(packet.UDP, udp("")), 5, 0)), packet.Short},
		{"header checksum", ethernet(ip4, changed(syn(), 8, 63)), packet.BadChecksum},
		{"no header checksum", ethernet(ip4, changed(changed(syn(), 10, 0), 11, 0)), packet.BadChecksum},
		{"ipv4-mapped source", ethernet(ip6, mapped), packet.MappedAddress},
		{"nine extension headers", ethernet(ip6, ipv6(60, extensions(9, packet.UDP), udp(""))), packet.TooManyExtensions},
		{"an extension header behind the eighth, which is a fragment header", ethernet(ip6,
			ipv6(60, extensions(7, 44), fragmentHeader(60, 1, 0, false), extension(packet.TCP), tcp(packet.SYN, ""))), packet.TooManyExtensions},
		{"long extension headers", ethernet(ip6, ipv6(60, cat(packet.UDP, 123), make([]byte, 990), udp(""))), packet.TooManyExtensions},
		{"hop-by-hop options twice", ethernet(ip6, ipv6(0, extension(0), extension(packet.UDP), udp(""))), packet.BadExtensionOrder},
		{"two fragment headers", ethernet(ip6, ipv6(44, fragmentHeader(44, 1, 0, false), fragmentHeader(packet.UDP, 1, 8, false), udp(""))), packet.BadExtensionOrder},
		{"extension header longer than the packet", ethernet(ip6, ipv6(60, cat(packet.UDP, 1, 0, 0, 0, 0, 0, 0)), make([]byte, 30)), packet.Short},
		{"extension header missing", ethernet(ip6, ipv6(60)), packet.Short},
		{"first fragment with half a tcp header", ethernet(ip4, fragment4Of(packet.TCP, 1, 0, true, tcp(packet.SYN, "")[:8])), packet.TinyFragment},
		{"first fragment without the tcp options", ethernet(ip4, fragment4Of(packet.TCP, 1, 0, true, changed(tcp(packet.SYN, "data"), 12, 7<<4))), packet.TinyFragment},
		{"ipv6 first fragment without transport header", ethernet(ip6, ipv6(44, fragmentHeader(60, 1, 0, true), extension(packet.TCP))), packet.TinyFragment},
		{"ipv6 first fragment without its extension header", ethernet(ip6, ipv6(44, fragmentHeader(60, 1, 0, true))), packet.TinyFragment},
		{"fragment of an odd length", ethernet(ip4, fragment4(1, 8, true, []byte("123456789"))), packet.BadFragment},
		{"fragment of nothing", ethernet(ip4, fragment4(1, 8, true, nil)), packet.BadFragment},
		{"ping of death", ethernet(ip4, fragment4(1, 65528, false, make([]byte, 64))), packet.BadFragment},
		{"ping of death, IPv6", ethernet(ip6, ipv6(44, fragmentHeader(packet.ICMPv6, 1, 65528, false), make([]byte, 8))), packet.BadFragment},
		{"no tcp header", ethernet(ip4, ipv4(packet.TCP, make([]byte, 19))), packet.Short},
		{"tcp header in the padding", ethernet(ip4, ipv4(packet.TCP), tcp(packet.SYN, "")), packet.Short},
		{"tcp data offset 4", ethernet(ip4, ipv4(packet.TCP, changed(tcp(packet.SYN, ""), 12, 4<<4))), packet.BadHeaderLength},
		{"tcp data offset beyond", ethernet(ip4, ipv4(packet.TCP, changed(tcp(packet.SYN, "123"), 12, 6<<4))), packet.BadHeaderLength},
		{"udp length beyond", ethernet(ip4, ipv4(packet.UDP, changed(udp("x"), 5, 10))), packet.BadLength},
		{"udp length 7", ethernet(ip4, ipv4(packet.UDP, changed(udp("x"), 5, 7))), packet.BadLength},
		{"udp length 0", ethernet(ip6, ipv6(packet.UDP, changed(udp("x"), 5, 0))), packet.BadLength},
		{"icmp of 7 bytes", ethernet(ip4, ipv4(packet.ICMP, make([]byte, 7))), packet.Short},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p packet.Packet
			outcome := p.Decode(&packet.Frame{Data: c.frame, Link: packet.LinkEthernet})
			if outcome != packet.Malformed || p.Reason != c.why {
				t.Errorf("%v, %v; want malformed, %v", outcome, p.Reason, c.why)
			}
		})
	}
}

func TestNotIP(t *testing.T) {
	syn := ipv4(packet.TCP, tcp(packet.SYN, ""))
	for _, c := range []struct {
		name    string
		link    packet.LinkType
		frame   []byte
		outcome packet.Outcome
		kind    uint16
	}{
		{"arp", packet.LinkEthernet, ethernet(packet.EtherTypeARP, make([]byte, 28)), packet.NotIP, packet.EtherTypeARP},
		{"length in place of a type", packet.LinkEthernet, ethernet(38, make([]byte, 38)), packet.NotIP, packet.EtherTypeLLC},
		{"third tag", packet.LinkEthernet, ethernet(0x88a8, cat(0, 7, 0x81, 0, 0, 8, 0x81, 0, 0, 9, 8, 0), syn), packet.NotIP, 0x8100},
		{"a tag Linux does not know", packet.LinkEthernet, ethernet(0x9100, cat(0, 7, 8, 0), syn), packet.NotIP, 0x9100},
		{"appletalk on loopback", packet.LinkNull, cat(16, 0, 0, 0), packet.NotIP, 0},
		{"cooked netlink", packet.LinkCooked, join(cat(0, 4, 3, 56), make([]byte, 10), cat(8, 0), syn), packet.NotIP, 0},
		{"cooked 2 netlink", packet.LinkCooked2, join(cat(8, 0, 0, 0, 0, 0, 0, 1, 3, 56), make([]byte, 10), syn), packet.NotIP, 0},
		{"802.11", 105, syn, packet.UnknownLink, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p packet.Packet
			if outcome := p.Decode(&packet.Frame{Data: c.frame, Link: c.link}); outcome != c.outcome || p.EtherType != c.kind {
				t.Errorf("%v of type %#x; want %v, %#x", outcome, p.EtherType, c.outcome, c.kind)
			}
		})
	}
}

// TestFlags: each of the 64 combinations of FIN, SYN, RST, PSH, ACK and URG.
func TestFlags(t *testing.T) {
	odd := 0
	for flags := range uint8(64) {
		p := decoded(t, packet.Frame{Data: ipv4(packet.TCP, tcp(flags, "")), Link: packet.LinkRaw})
		if p.Tuple != between(4, packet.TCP) || p.TCPFlags != flags {
			t.Errorf("flags %#x: %+v with flags %#x", flags, p.Tuple, p.TCPFlags)
		}
		if p.HasOddFlags {
			odd++
		}
	}
	if odd != 8+3*8 {
		t.Errorf("%d combinations are odd", odd)
	}
	for _, flags := range []uint8{packet.SYN, packet.SYN | packet.ACK, packet.ACK, packet.FIN | packet.ACK, packet.RST, packet.RST | packet.ACK, packet.PSH | packet.ACK, packet.SYN | 0xc0} {
		if decoded(t, packet.Frame{Data: ipv4(packet.TCP, tcp(flags, "")), Link: packet.LinkRaw}).HasOddFlags {
			t.Errorf("flags %#x are odd", flags)
		}
	}
	for _, flags := range []uint8{0, packet.FIN, packet.FIN | packet.PSH | packet.URG, packet.SYN | packet.FIN, packet.SYN | packet.RST, packet.PSH} {
		if !decoded(t, packet.Frame{Data: ipv4(packet.TCP, tcp(flags, "")), Link: packet.LinkRaw}).HasOddFlags {
			t.Errorf("flags %#x are not odd", flags)
		}
	}
}

// TestCut: what the recording does not hold is told from what was not there.
func TestCut(t *testing.T) {
	whole := ethernet(ip6, ipv6(60, extension(packet.TCP), tcp(packet.ACK, "hello")))
	headers := len(whole) - len("hello")
	for n := range whole {
		f := packet.Frame{Data: whole[:n], Link: packet.LinkEthernet, WireLength: len(whole)}
		var p packet.Packet
		outcome := p.Decode(&f)
		if n < headers && (outcome != packet.Malformed || p.Reason != packet.Cut) {
			t.Errorf("%d bytes: %v, %v", n, outcome, p.Reason)
		}
		if n >= headers && (outcome != packet.Decoded || p.PayloadLength != 5 || len(p.CapturedPayload(f.Data)) != n-headers) {
			t.Errorf("%d bytes: %v, payload %d, of it %q", n, outcome, p.PayloadLength, p.CapturedPayload(f.Data))
		}
	}
}
