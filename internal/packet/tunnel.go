package packet

// Tunnels over UDP, by their ports.
const (
	portVXLAN      = 4789 // RFC 7348
	portVXLANLinux = 8472 // Linux's default, and flannel's
	portGeneve     = 6081 // RFC 8926

	tunnelHeader = 8 // of both, without Geneve's options

	protocolIPIP = 4
	protocolIPv6 = 41
	protocolGRE  = 47

	etherTypeBridging uint16 = 0x6558 // an Ethernet frame
)

// carriedHeaders is how many bytes of headers lie between p's own and the payload
// that the network card cuts of a superpacket inside a tunnel; 0 where p is no
// tunnel's, or carries what is not cut. Each segment has the headers of both.
func (p *Packet) carriedHeaders(f *Frame) int {
	at, kind := p.tunnel(f)
	if kind == etherTypeBridging {
		h := p.headerAt(f, at, ethernetHeader)
		if h == nil {
			return 0
		}
		at, kind = at+ethernetHeader, be16(h[12:])
	}
	var protocol uint8
	switch kind {
	case EtherTypeIPv4:
		h := p.headerAt(f, at, ipv4Header)
		if h == nil {
			return 0
		}
		at, protocol = at+int(h[0]&15)*4, h[9]
	case EtherTypeIPv6:
		h := p.headerAt(f, at, ipv6Header)
		if h == nil {
			return 0
		}
		at, protocol = at+ipv6Header, h[6]
	}
	switch protocol {
	case TCP:
		h := p.headerAt(f, at, tcpHeader)
		if h == nil {
			return 0
		}
		at += int(h[12]>>4) * 4
	case UDP:
		at += udpHeader
	default:
		return 0
	}
	if length := at - p.Payload; length < p.PayloadLength {
		return length
	}
	return 0
}

// tunnel reads a tunnel's own header: where what it carries begins, and of what
// type that is; 0 where there is none that Linux would let the network card cut.
func (p *Packet) tunnel(f *Frame) (at int, kind uint16) {
	at = p.Payload
	switch p.Protocol {
	case protocolIPIP:
		return at, EtherTypeIPv4
	case protocolIPv6:
		return at, EtherTypeIPv6
	case protocolGRE: // RFC 2784, RFC 2890: checksum, key and sequence number may follow
		h := p.headerAt(f, at, 4)
		if h == nil || h[1]&7 != 0 {
			return at, 0
		}
		at += 4
		for _, flag := range []byte{0x80, 0x20, 0x10} {
			if h[0]&flag != 0 {
				at += 4
			}
		}
		return at, be16(h[2:])
	case UDP:
		switch p.DestinationPort {
		case portVXLAN, portVXLANLinux:
			return at + tunnelHeader, etherTypeBridging
		case portGeneve:
			if h := p.headerAt(f, at, 4); h != nil {
				return at + tunnelHeader + 4*int(h[0]&0x3f), be16(h[2:])
			}
		}
	}
	return at, 0
}

// headerAt is n bytes at `at`, within those that headers may take; nil where there
// are fewer.
func (p *Packet) headerAt(f *Frame, at, n int) []byte {
	if at-p.Network > MaxHeaderBytes || at+n > len(f.Data) {
		return nil
	}
	return f.Data[at : at+n]
}
