package packet

const (
	tcpHeader  = 20
	udpHeader  = 8
	icmpHeader = 8
)

// transport reads the transport header of a packet that ends at end.
func (p *Packet) transport(f *Frame, end int) Outcome {
	if p.IsFragment && p.FragmentOffset > 0 {
		p.Payload = p.Transport
		p.PayloadLength = end - p.Payload
		return LaterFragment
	}
	var why Reason
	header := 0
	switch p.Protocol {
	case TCP:
		header, why = p.tcp(f, end)
	case UDP:
		header, end, why = p.udp(f, end)
	case ICMP, ICMPv6:
		header, why = p.icmp(f, end)
	}
	if why != 0 {
		return p.malformed(why)
	}
	p.Payload = p.Transport + header
	p.PayloadLength = end - p.Payload
	// Each segment of a superpacket has the headers of its own, and of the tunnel
	// that it is in.
	if f.GSOSize > 0 && p.PayloadLength > f.GSOSize {
		carried := p.carriedHeaders(f)
		p.Packets = (p.PayloadLength - carried + f.GSOSize - 1) / f.GSOSize
		p.Bytes += (p.Packets - 1) * (p.Payload - p.Network - p.phantom + carried)
	}
	return Decoded
}

// tcp reads a TCP header (RFC 9293 3.1) and returns its length.
func (p *Packet) tcp(f *Frame, end int) (int, Reason) {
	if why := p.missing(f, p.Transport, tcpHeader, end); why != 0 {
		return 0, why
	}
	h := f.Data[p.Transport : p.Transport+tcpHeader]
	header := int(h[12]>>4) * 4
	if header < tcpHeader {
		return 0, BadHeaderLength
	}
	if p.Transport+header > end {
		if p.IsFragment {
			return 0, TinyFragment
		}
		return 0, BadHeaderLength
	}
	p.SourcePort = be16(h)
	p.DestinationPort = be16(h[2:])
	p.Seq = be32(h[4:])
	p.Ack = be32(h[8:])
	p.TCPFlags = h[13]
	p.HasOddFlags = isOdd(p.TCPFlags)
	return header, 0
}

// isOdd: none of SYN, ACK and RST (null, FIN and XMAS scans; RFC 9293 3.10.7.4:
// dropped in every state), or SYN together with FIN or RST, which once got past
// filters that looked for a bare SYN.
func isOdd(flags uint8) bool {
	if flags&SYN != 0 {
		return flags&(FIN|RST) != 0
	}
	return flags&(ACK|RST) == 0
}

// udp reads a UDP header (RFC 768) and returns its length and where the datagram
// ends: what the IP packet has beyond the UDP length is not payload.
func (p *Packet) udp(f *Frame, end int) (int, int, Reason) {
	if why := p.missing(f, p.Transport, udpHeader, end); why != 0 {
		return 0, 0, why
	}
	h := f.Data[p.Transport : p.Transport+udpHeader]
	present := end - p.Transport
	length := int(be16(h[4:]))
	if length == 0 && f.GSOSize > 0 {
		length = present // a superpacket of more than 64 KiB
	}
	switch {
	case length < udpHeader:
		return 0, 0, BadLength
	case p.IsFragment:
		length = present // the UDP length is the whole datagram's
	case length > present:
		return 0, 0, BadLength
	}
	p.SourcePort = be16(h)
	p.DestinationPort = be16(h[2:])
	return udpHeader, p.Transport + length, 0
}
