package packet_test

import (
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

func TestQueries(t *testing.T) {
	for _, c := range []struct {
		name       string
		version    int
		kind, code byte
		of, ofCode uint8
		id         uint16
		isReply    bool
		isError    bool
	}{
		{name: "echo", version: 4, kind: 8, of: 8, id: 0x1234},
		{name: "echo reply", version: 4, kind: 0, of: 8, id: 0x1234, isReply: true},
		{name: "echo with a code", version: 4, kind: 8, code: 9, of: 8, ofCode: 9, id: 0x1234},
		{name: "timestamp reply", version: 4, kind: 14, of: 13, id: 0x1234, isReply: true},
		{name: "information reply", version: 4, kind: 16, of: 15, id: 0x1234, isReply: true},
		{name: "address mask reply", version: 4, kind: 18, of: 17, id: 0x1234, isReply: true},
		{name: "extended echo", version: 4, kind: 42, of: 42, id: 0x1234},
		{name: "extended echo reply: no such interface", version: 4, kind: 43, code: 2, of: 42, id: 0x1234, isReply: true},
		{name: "router solicitation", version: 4, kind: 10, of: 10},
		{name: "unreachable", version: 4, kind: 3, code: 13, of: 3, ofCode: 13, isError: true},
		{name: "redirect", version: 4, kind: 5, code: 1, of: 5, ofCode: 1, isError: true},
		{name: "echo 6", version: 6, kind: 128, of: 128, id: 0x1234},
		{name: "echo reply 6", version: 6, kind: 129, of: 128, id: 0x1234, isReply: true},
		{name: "extended echo reply 6", version: 6, kind: 161, code: 1, of: 160, id: 0x1234, isReply: true},
		{name: "packet too big", version: 6, kind: 2, of: 2, isError: true},
		{name: "neighbor solicitation", version: 6, kind: 135, of: 135},
		{name: "redirect 6 is informational", version: 6, kind: 137, of: 137},
	} {
		t.Run(c.name, func(t *testing.T) {
			message := cat(c.kind, c.code, 0, 0, 0x12, 0x34, 0, 1)
			data := ipv4(packet.ICMP, message)
			want := between(4, packet.ICMP)
			if c.version == 6 {
				data, want = ipv6(packet.ICMPv6, message), between(6, packet.ICMPv6)
			}
			want.ICMPType, want.ICMPCode, want.ICMPID = c.of, c.ofCode, c.id
			p := decoded(t, packet.Frame{Data: data, Link: packet.LinkRaw})
			if p.Tuple != want || p.IsReply != c.isReply || p.IsError != c.isError || p.HasQuote {
				t.Errorf("%+v, reply %t, error %t, quote %t", p.Tuple, p.IsReply, p.IsError, p.HasQuote)
			}
		})
	}
}

func TestQuotes(t *testing.T) {
	unreachable := cat(3, 1, 0, 0, 0, 0, 0, 0)
	too := cat(2, 0, 0, 0, 0, 0, 5, 0)
	echo := between(4, packet.ICMP)
	echo.ICMPType, echo.ICMPID = 8, 7
	tagged := between(4, packet.UDP)
	tagged.Zone.Outer = 7
	error4 := func(quoted []byte) []byte { return ethernet(ip4, ipv4(packet.ICMP, unreachable, quoted)) }
	error6 := func(quoted []byte) []byte { return ethernet(ip6, ipv6(packet.ICMPv6, too, quoted)) }
	for _, c := range []struct {
		name    string
		frame   []byte
		quoted  packet.Tuple // the zero tuple: no quote
		isReply bool
	}{
		{name: "eight bytes of tcp", frame: error4(ipv4(packet.TCP, tcp(packet.SYN, "data"))[:28]), quoted: between(4, packet.TCP)},
		{name: "seven bytes of tcp", frame: error4(ipv4(packet.TCP, tcp(packet.SYN, "data"))[:27])},
		{name: "ipv4 options", frame: error4(ipv4With(cat(1, 1, 1, 0), packet.UDP, udp(""))), quoted: between(4, packet.UDP)},
		{name: "changed on the way", frame: error4(changed(changed(ipv4(packet.UDP, udp("")), 8, 0), 3, 0)), quoted: between(4, packet.UDP)},
		{name: "echo", frame: error4(ipv4(packet.ICMP, cat(8, 0, 0, 0, 0, 7, 0, 1))), quoted: echo},
		{name: "echo reply", frame: error4(ipv4(packet.ICMP, cat(0, 0, 0, 0, 0, 7, 0, 1))), quoted: echo, isReply: true},
		{name: "an error", frame: error4(ipv4(packet.ICMP, unreachable))},
		{name: "protocol by number", frame: error4(ipv4(132)), quoted: between(4, 132)},
		{name: "first fragment", frame: error4(fragment4(1, 0, true, udp("12345678"))), quoted: between(4, packet.UDP)},
		{name: "later fragment", frame: error4(fragment4(1, 8, true, udp("12345678")))},
		{name: "ipv6 in ipv4", frame: error4(ipv6(packet.UDP, udp("")))},
		{name: "nothing", frame: error4(nil)},
		{name: "no header length", frame: error4(changed(ipv4(packet.UDP, udp("")), 0, 0x41))},
		{name: "tagged", frame: ethernet(0x8100, cat(0, 7, 8, 0), ipv4(packet.ICMP, unreachable, ipv4(packet.UDP, udp("")))), quoted: tagged},
		{name: "ipv6", frame: error6(ipv6(packet.TCP, tcp(packet.ACK, ""))), quoted: between(6, packet.TCP)},
		{name: "ipv6 extension headers", frame: error6(ipv6(0, extension(60), extension(packet.UDP), udp(""))), quoted: between(6, packet.UDP)},
		{name: "ipv6 extension headers, cut", frame: error6(ipv6(0, extension(60), extension(packet.UDP), udp(""))[:60])},
		{name: "ipv6 first fragment, cut", frame: error6(ipv6(44, fragmentHeader(packet.UDP, 1, 0, true), udp("123"))), quoted: between(6, packet.UDP)},
		{name: "ipv6 later fragment", frame: error6(ipv6(44, fragmentHeader(packet.UDP, 1, 8, false), udp("")))},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := decoded(t, packet.Frame{Data: c.frame, Link: packet.LinkEthernet})
			if !p.IsError || p.HasQuote != (c.quoted != packet.Tuple{}) || p.Quoted != c.quoted || p.QuotedIsReply != c.isReply {
				t.Errorf("error %t quotes %t: %+v, reply %t", p.IsError, p.HasQuote, p.Quoted, p.QuotedIsReply)
			}
		})
	}
}
