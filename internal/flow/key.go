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
	zone              uint32
	protocol          uint8
}

// The ends of a connection, as indexes.
const (
	source      = 0
	destination = 1
)

// keyOf is the key of p's connection, and whether p's sender is its high end.
// zone is that of the interface.
func keyOf(p *packet.Packet, zone uint32) (key, bool) {
	return keyOfTuple(&p.Tuple, p.IsReply, zone)
}

// zoneOf is the zone of a packet whose tags are those of z: the ids that the
// interface has taken off were around them. A VRF's (0xfff << 12 | number) is for
// packets without an id.
func zoneOf(z packet.Zone, ofInterface uint32) uint32 {
	const id = 0xfff
	tags := uint32(z.Inner)<<12 | uint32(z.Outer)
	switch {
	case tags == 0:
		return ofInterface
	case ofInterface == 0 || ofInterface>>12 == id:
		return tags
	}
	// Two ids make a zone: of three or more, the outermost and the innermost read.
	innermost := z.Inner
	if innermost == 0 {
		innermost = z.Outer
	}
	return ofInterface&id | uint32(innermost)<<12
}

func keyOfTuple(t *packet.Tuple, isReply bool, zone uint32) (key, bool) {
	zone = zoneOf(t.Zone, zone)
	k := key{low: t.Source.As16(), high: t.Destination.As16(), zone: zone, protocol: t.Protocol}
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
