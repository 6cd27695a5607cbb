package datapath

import (
	"net/netip"

	"github.com/weirnet/weir/internal/packet"
)

// failure is an ICMP error about a packet of the conversation, which comes the way
// of the other end's packets.
func (g *traffic) failure(k *talk) {
	end := g.IntN(2) // of which the packet is
	kind := byte(g.one(3, 3, 3, 11, 12, 4, 5))
	if k.tuple.Source.Is6() {
		kind = byte(g.one(1, 1, 2, 3, 4, 100))
	}
	code, astray, fromRouter, length := byte(g.IntN(2)), g.rarely(8), g.rarely(2), g.one(0, 8, 8, 64)
	quotedError, quotedFragment := g.rarely(20), g.rarely(20)
	carry := func(tp packet.Tuple) []byte { // tp: from the end that reports
		quoted := tp.Reversed()
		var l4 []byte
		switch {
		case quotedError:
			quoted.Protocol, l4 = errorProtocol(tp), icmpMessage(kind, 0, 0, nil)
		case quoted.Protocol == packet.ICMP:
			l4 = icmpMessage(map[int]byte{0: 8, 1: 0}[end], 0, k.id, nil)
		case quoted.Protocol == packet.ICMPv6:
			l4 = icmpMessage(map[int]byte{0: 128, 1: 129}[end], 0, k.id, nil)
		case quoted.Protocol == packet.TCP:
			l4 = segment(quoted, packet.ACK, k.next[end], k.next[1-end], length)
		default:
			l4 = udpDatagram(quoted, length)
		}
		h := headers{hopLimit: 1}
		if quotedFragment {
			h.id, h.offset = 7, 4
		}
		return icmpMessage(kind, code, 0, h.build(quoted, l4)[14:])
	}
	id := uint32(0)
	if g.names++; g.rarely(2) {
		id, length = g.names, 64
	}
	g.show(k, 1-end, 0, func(tp packet.Tuple, h *headers) [][]byte {
		message := carry(tp)
		outer := tp
		outer.Protocol = errorProtocol(tp)
		if fromRouter {
			outer.Source = map[bool]netip.Addr{false: address("10.0.9.9"), true: address("fd00:9::9")}[tp.Source.Is6()]
		}
		if astray && !tp.Source.IsLoopback() {
			outer.Destination = map[bool]netip.Addr{false: peers4[1], true: peers6[1]}[tp.Source.Is6()]
		}
		if id == 0 {
			return [][]byte{h.build(outer, message)}
		}
		return h.fragments(outer, message, id, 7)
	})
}

func errorProtocol(tp packet.Tuple) uint8 {
	if tp.Source.Is6() {
		return packet.ICMPv6
	}
	return packet.ICMP
}
