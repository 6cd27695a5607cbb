package packet

import (
	"encoding/binary"
	"math/bits"
)

// Checksum says what a transport checksum is.
type Checksum uint8

const (
	// Unchecked: it cannot be told. The packet is a fragment or a superpacket, is
	// not held whole, has a routing header, or no checksum at all.
	Unchecked Checksum = iota
	// Right: the receiver takes it.
	Right
	// Wrong: every receiver drops it, so it must not change what is known of a
	// connection (it may be sent to that end).
	Wrong
	// Partial: the pseudo-header's, left to the network card to complete. Right,
	// where the packet is sent by this host.
	Partial
)

// TransportChecksum checks TCP, UDP, ICMP and ICMPv6. p is the packet of the frame
// with these data, which was Decoded (else: Unchecked). It reads the whole
// payload; Decode does not ask for it.
func (p *Packet) TransportChecksum(data []byte) Checksum {
	end := p.Payload + p.PayloadLength
	if p.IsFragment || p.routed || p.Packets != 1 || end > len(data) || p.Payload <= p.Transport {
		return Unchecked
	}
	segment := data[p.Transport:end]
	field := 16
	switch p.Protocol {
	case UDP:
		// No checksum; in IPv6 an exception for tunnels (RFC 6935).
		if field = 6; be16(segment[field:]) == 0 {
			return Unchecked
		}
	case ICMP, ICMPv6:
		field = 2
	}
	var pseudo uint16
	if p.Protocol != ICMP {
		pseudo = p.pseudoHeader(len(segment))
	}
	if fold(uint64(sum(segment))+uint64(pseudo)) == 0xffff {
		return Right
	}
	if p.HasPorts() && be16(segment[field:]) == pseudo {
		return Partial
	}
	return Wrong
}

// pseudoHeader sums the addresses, protocol and length (RFC 9293 3.1, RFC 8200
// 8.1).
func (p *Packet) pseudoHeader(length int) uint16 {
	total := uint64(p.Protocol) + uint64(length)
	if p.IPVersion == 4 {
		source, destination := p.Source.As4(), p.Destination.As4()
		return fold(total + uint64(sum(source[:])) + uint64(sum(destination[:])))
	}
	source, destination := p.Source.As16(), p.Destination.As16()
	return fold(total + uint64(sum(source[:])) + uint64(sum(destination[:])))
}

// sum is the one's complement sum of RFC 1071, not complemented: 0xffff over
// what bears a right checksum.
func sum(b []byte) uint16 {
	var total, carry uint64
	for len(b) >= 8 {
		total, carry = bits.Add64(total, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	total, carry = bits.Add64(total, 0, carry)
	total += carry
	total = total>>32 + total&0xffffffff
	for len(b) >= 2 {
		total += uint64(be16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		total += uint64(b[0]) << 8
	}
	return fold(total)
}

func fold(total uint64) uint16 {
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}
