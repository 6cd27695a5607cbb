package packet

import "net/netip"

const (
	ipv4Header   = 20
	maxDatagram  = 65535
	moreFollow   = 0x2000
	offsetMask   = 0x1fff
	fragmentUnit = 8 // bytes; offsets count them
)

// offloadLeast is the length from which a recorded packet without a length of
// its own is taken for a superpacket: more than Ethernet's usual frames hold.
const offloadLeast = 1500

// isSuperpacket says whether an IP packet of length bytes may bear length 0: a
// superpacket of more than 64 KiB (BIG TCP), or one recorded before the network
// card filled the length in.
func (f *Frame) isSuperpacket(length int) bool {
	return f.GSOSize > 0 || f.FromFile && length > offloadLeast
}

// ipv4 reads the IPv4 header at `at` (RFC 791), and goes on.
func (p *Packet) ipv4(f *Frame, at, wire int) Outcome {
	if why := p.missing(f, at, ipv4Header, wire); why != 0 {
		return p.malformed(why)
	}
	h := f.Data[at:]
	header := int(h[0]&15) * 4
	switch {
	case h[0]>>4 != 4:
		return p.malformed(BadVersion)
	case header < ipv4Header:
		return p.malformed(BadHeaderLength)
	}
	if why := p.missing(f, at, header, wire); why != 0 {
		return p.malformed(why)
	}
	total := int(be16(h[2:]))
	if total == 0 && h[9] == TCP && f.isSuperpacket(wire-at) {
		total = wire - at
	}
	if total < header || total > wire-at {
		return p.malformed(BadTotalLength)
	}
	if !f.FromFile && sum(h[:header]) != 0xffff {
		return p.malformed(BadChecksum)
	}
	p.IPVersion = 4
	p.Source = netip.AddrFrom4([4]byte(h[12:16]))
	p.Destination = netip.AddrFrom4([4]byte(h[16:20]))
	p.Protocol = h[9]
	p.HopLimit = h[8]
	p.HasOptions = header > ipv4Header
	p.Bytes = total
	p.Packets = 1
	p.Transport = at + header
	if fragment := be16(h[6:]); fragment&(moreFollow|offsetMask) != 0 {
		p.FragmentID = uint32(be16(h[4:]))
		p.fragment(int(fragment&offsetMask)*fragmentUnit, fragment&moreFollow != 0, total-header, header)
		if p.isBadFragment() {
			return p.malformed(BadFragment)
		}
	}
	return p.transport(f, at+total)
}

// fragment notes a fragment of length bytes at offset, of a datagram that has
// `ahead` bytes before what is fragmented.
func (p *Packet) fragment(offset int, more bool, length, ahead int) {
	p.IsFragment = true
	p.FragmentOffset = offset
	p.FragmentLength = length
	p.more = more
	p.ahead = ahead
}

func (p *Packet) isBadFragment() bool {
	return p.FragmentLength == 0 || p.more && p.FragmentLength%fragmentUnit != 0 ||
		p.ahead+p.FragmentOffset+p.FragmentLength > maxDatagram
}
