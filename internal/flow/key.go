package flow

import (
	"bytes"

	"github.com/weirnet/weir/internal/packet"
)

// key is the same for both directions of a connection: the end with the lower
// address (and port, where the addresses are equal) is low. IPv4 is mapped (RFC
// 4291 2.5.5.2).
type key struct {
	low, high [16]byte
	// TCP and UDP: the ports. ICMP: the identifier of queries, else 0, and type <<
	// 8 | code, of a reply those of its query.
	lowPort, highPort uint16
	zone              packet.Zone
	protocol          uint8
}

// The ends of a connection, as indexes.
const (
	source      = 0
	destination = 1
)

// keyOf is the key of p's connection, and whether p's sender is its high end.
func keyOf(p *packet.Packet) (key, bool) { return keyOfTuple(&p.Tuple, p.IsReply) }

func keyOfTuple(t *packet.Tuple, isReply bool) (key, bool) {
	k := key{low: t.Source.As16(), high: t.Destination.As16(), zone: t.Zone, protocol: t.Protocol}
	k.lowPort, k.highPort = t.SourcePort, t.DestinationPort
	order := bytes.Compare(k.low[:], k.high[:])
	ports := t.HasPorts()
	if order == 0 && ports {
		order = int(t.SourcePort) - int(t.DestinationPort)
	}
	if t.IsICMP() {
		k.lowPort, k.highPort = t.ICMPID, uint16(t.ICMPType)<<8|uint16(t.ICMPCode)
		// A query from an address to itself: the reply is the high end's.
		if order == 0 && isReply {
			order = 1
		}
	}
	if order <= 0 {
		return k, false
	}
	k.low, k.high = k.high, k.low
	if ports {
		k.lowPort, k.highPort = k.highPort, k.lowPort
	}
	return k, true
}

// senderIsSource says whether p, the first packet seen, was sent by the end that
// opened the connection.
func senderIsSource(p *packet.Packet) bool {
	switch {
	case p.IsReply:
		return false
	case p.Protocol != packet.TCP || isLater(p):
		return true
	case p.TCPFlags&packet.SYN != 0:
		return p.TCPFlags&packet.ACK == 0
	}
	// Picked up in the middle: servers have the lower port.
	return p.SourcePort >= p.DestinationPort
}

func directionOf(h *Hook, fromSource bool) packet.Direction {
	switch {
	case !h.SentByHost && !h.ForHost:
		return packet.Forwarded
	case h.SentByHost == fromSource:
		return packet.Outbound
	}
	return packet.Inbound
}
