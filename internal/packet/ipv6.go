package packet

import "net/netip"

// IPv6 extension headers that are read through to what follows: those of Linux's
// ipv6_ext_hdr. What ends a chain for the host (ESP, mobility, HIP, "no next
// header") ends it here, and is judged by its number.
const (
	hopByHop           uint8 = 0
	routingHeader      uint8 = 43
	fragmentHeader     uint8 = 44
	authentication     uint8 = 51
	destinationOptions uint8 = 60

	ipv6Header     = 40
	extensionUnit  = 8
	jumboOption    = 0xc2 // RFC 2675
	jumboOptionLen = 4
)

func isExtension(header uint8) bool {
	switch header {
	case hopByHop, routingHeader, fragmentHeader, authentication, destinationOptions:
		return true
	}
	return false
}

// ipv6 reads the IPv6 header at `at` (RFC 8200), and goes on.
func (p *Packet) ipv6(f *Frame, at, wire int) Outcome {
	if why := p.missing(f, at, ipv6Header, wire); why != 0 {
		return p.malformed(why)
	}
	h := f.Data[at : at+ipv6Header]
	if h[0]>>4 != 6 {
		return p.malformed(BadVersion)
	}
	length := int(be16(h[4:]))
	next := h[6]
	jumbo := length == 0 && (next == TCP || next == hopByHop) && f.isSuperpacket(wire-at)
	if jumbo {
		length = wire - at - ipv6Header
	}
	if length > wire-at-ipv6Header {
		return p.malformed(BadTotalLength)
	}
	source, destination := [16]byte(h[8:24]), [16]byte(h[24:40])
	if !f.FromFile && (isMapped(&source) || isMapped(&destination)) {
		return p.malformed(MappedAddress)
	}
	p.IPVersion = 6
	p.Source = netip.AddrFrom16(source)
	p.Destination = netip.AddrFrom16(destination)
	p.HopLimit = h[7]
	p.Bytes = ipv6Header + length
	p.Packets = 1
	end := at + ipv6Header + length
	if why := p.extensions(f, at, next, end, jumbo); why != 0 {
		return p.malformed(why)
	}
	if p.IsFragment && p.isBadFragment() {
		return p.malformed(BadFragment)
	}
	p.Bytes -= p.phantom
	return p.transport(f, end)
}

// isMapped: ::ffff:0:0/96 (RFC 4291 2.5.5.2).
func isMapped(a *[16]byte) bool {
	return a[10] == 0xff && a[11] == 0xff && [10]byte(a[:10]) == [10]byte{}
}

// extensions reads the chain of extension headers of the packet at network,
// which begins with next, and sets Protocol and Transport.
func (p *Packet) extensions(f *Frame, network int, next uint8, end int, jumbo bool) Reason {
	at := network + ipv6Header
	fragmented := false
	for n := 0; isExtension(next); n++ {
		if n == MaxExtensions {
			return TooManyExtensions
		}
		if next == hopByHop && n > 0 || next == fragmentHeader && fragmented {
			return BadExtensionOrder
		}
		if why := p.missing(f, at, extensionUnit, end); why != 0 {
			return why
		}
		p.HasOptions = true
		h := f.Data[at:]
		this, length := next, (int(h[1])+1)*extensionUnit
		next = h[0]
		switch this {
		case authentication:
			length = (int(h[1]) + 2) * 4 // RFC 4302 2.2
		case routingHeader:
			p.routed = p.routed || h[3] != 0 // segments left
		case fragmentHeader:
			fragmented = true
			length = extensionUnit
		case hopByHop:
			// Linux puts this header before a superpacket, and takes it off again
			// when the packet is cut: it never reaches the wire.
			if jumbo && length == extensionUnit && h[2] == jumboOption && h[3] == jumboOptionLen {
				p.phantom = length
			}
		}
		at += length
		if at-network > MaxHeaderBytes {
			return TooManyExtensions
		}
		if this != fragmentHeader {
			continue
		}
		if field := be16(h[2:]); field&^6 != 0 { // an atomic fragment is whole (RFC 6946)
			p.FragmentID = be32(h[4:])
			p.fragment(int(field&^7), field&1 != 0, end-at, at-length-network-ipv6Header)
			if p.FragmentOffset > 0 {
				break // the rest of the chain is in the first fragment
			}
		}
	}
	p.Protocol = next
	p.Transport = at
	return p.missing(f, at, 0, end)
}
