// Package packet turns a frame's bytes into what is known of one packet: its
// addresses, ports, place in a TCP stream, and length. It is the reference for
// the decoder in bpf/packet.h.
package packet

import "net/netip"

// Direction says how a connection passes this host.
type Direction uint8

// The directions of DESIGN section 1; the numbers are those of bpf/flow.h.
const (
	Inbound   Direction = 1 // the destination is an address of this host
	Outbound  Direction = 2 // sent by this host
	Forwarded Direction = 3 // neither end is this host
)

// String is the value of the attribute weir.direction.
func (d Direction) String() string {
	switch d {
	case Inbound:
		return "inbound"
	case Outbound:
		return "outbound"
	case Forwarded:
		return "forwarded"
	}
	return "unknown"
}

// IP protocol numbers (IANA) that are decoded beyond the addresses.
const (
	ICMP   uint8 = 1
	TCP    uint8 = 6
	UDP    uint8 = 17
	ICMPv6 uint8 = 58
)

// Zone keeps equal tuples of two networks apart: the VLAN ids of a frame, 0 where
// it has none. A single tag, or the only one whose id is not 0 (a priority tag
// names no VLAN, IEEE 802.1Q 6.9), is Outer.
type Zone struct {
	Outer uint16
	Inner uint16
}

// reservedID is a VLAN id that no VLAN has (IEEE 802.1Q 9.6): as Inner it makes the
// zone that of a VRF, whose number is Outer.
const reservedID = 0x0fff

// IsVRF: such a zone is for frames without a VLAN id.
func (z Zone) IsVRF() bool { return z.Inner == reservedID }

// Tuple names a connection: source is the initiator's end.
type Tuple struct {
	Source      netip.Addr
	Destination netip.Addr
	// SourcePort and DestinationPort are valid for TCP and UDP.
	SourcePort      uint16
	DestinationPort uint16
	// Protocol is the IP protocol number.
	Protocol uint8
	// ICMPType and ICMPCode are valid for ICMP and ICMPv6; of a query and its
	// reply they are the query's.
	ICMPType uint8
	ICMPCode uint8
	// ICMPID is valid for query types that carry an identifier (echo and the
	// like).
	ICMPID uint16
	// Zone is the network the addresses belong to.
	Zone Zone
}

// HasPorts says whether the port fields are valid.
func (t Tuple) HasPorts() bool { return t.Protocol == TCP || t.Protocol == UDP }

// Reversed is the tuple with its ends exchanged.
func (t Tuple) Reversed() Tuple {
	t.Source, t.Destination = t.Destination, t.Source
	t.SourcePort, t.DestinationPort = t.DestinationPort, t.SourcePort
	return t
}

// IsICMP says whether the ICMP fields are valid.
func (t Tuple) IsICMP() bool { return t.Protocol == ICMP || t.Protocol == ICMPv6 }
