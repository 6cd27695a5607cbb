package packet

import "net/netip"

// ICMP and ICMPv6 types (IANA). Queries with an identifier, each followed by
// its reply's type: RFC 792, RFC 950, RFC 4443, RFC 8335.
const (
	icmpEchoReply       = 0
	icmpEcho            = 8
	icmpTimestamp       = 13
	icmpInformation     = 15
	icmpAddressMask     = 17
	icmpExtendedEcho    = 42
	icmpv6Echo          = 128
	icmpv6ExtendedEcho  = 160
	icmpv6LeastNotError = 128 // RFC 4443 2.1

	icmpUnreachable      = 3
	icmpSourceQuench     = 4
	icmpRedirect         = 5
	icmpTimeExceeded     = 11
	icmpParameterProblem = 12
)

// maxError: no error is longer, with its IP header (RFC 4443 2.4; of IPv4 RFC 1812
// 4.3.2.3). What it has beyond is not looked at.
const maxError = 1280

// query returns the type of the query that an ICMP message of type t is, or is
// the reply to. isQuery is false for all other messages.
func query(protocol, t uint8) (q uint8, isQuery, isReply bool) {
	if protocol == ICMP {
		switch t {
		case icmpEcho, icmpTimestamp, icmpInformation, icmpAddressMask, icmpExtendedEcho:
			return t, true, false
		case icmpTimestamp + 1, icmpInformation + 1, icmpAddressMask + 1, icmpExtendedEcho + 1:
			return t - 1, true, true
		case icmpEchoReply:
			return icmpEcho, true, true
		}
		return t, false, false
	}
	switch t {
	case icmpv6Echo, icmpv6ExtendedEcho:
		return t, true, false
	case icmpv6Echo + 1, icmpv6ExtendedEcho + 1:
		return t - 1, true, true
	}
	return t, false, false
}

func isICMPError(protocol, t uint8) bool {
	if protocol == ICMPv6 {
		return t < icmpv6LeastNotError
	}
	switch t {
	case icmpUnreachable, icmpSourceQuench, icmpRedirect, icmpTimeExceeded, icmpParameterProblem:
		return true
	}
	return false
}

// setICMP fills the tuple's ICMP fields from a header, and says whether it is a
// reply's. The code of an extended echo reply is its result (RFC 8335 3), so that
// it bears the query's, which is 0.
func (t *Tuple) setICMP(h []byte) (isReply bool) {
	kind, isQuery, isReply := query(t.Protocol, h[0])
	t.ICMPType = kind
	t.ICMPCode = h[1]
	if isQuery {
		t.ICMPID = be16(h[4:])
	}
	if isReply && (kind == icmpExtendedEcho || kind == icmpv6ExtendedEcho) {
		t.ICMPCode = 0
	}
	return isReply
}

// icmp reads an ICMP or ICMPv6 header, and the packet that an error quotes.
func (p *Packet) icmp(f *Frame, end int) (int, Reason) {
	if why := p.missing(f, p.Transport, icmpHeader, end); why != 0 {
		return 0, why
	}
	h := f.Data[p.Transport : p.Transport+icmpHeader]
	p.IsReply = p.setICMP(h)
	if isICMPError(p.Protocol, h[0]) {
		p.IsError = true
		p.quote(f, p.Transport+icmpHeader, end)
	}
	return icmpHeader, 0
}

// quote reads the packet that an ICMP error quotes: its headers, and the eight
// bytes of transport header that RFC 792 promises. Its length, checksum and hop
// limit may have been changed on the way and are not looked at.
func (p *Packet) quote(f *Frame, at, end int) {
	var q Packet
	q.Zone = p.Zone
	end = min(end, len(f.Data), p.Network+maxError)
	if at >= end || f.Data[at]>>4 != p.IPVersion {
		return
	}
	switch p.IPVersion {
	case 4:
		if at+ipv4Header > end {
			return
		}
		h := f.Data[at:]
		header := int(h[0]&15) * 4
		if header < ipv4Header || be16(h[6:])&offsetMask != 0 {
			return // a later fragment: what follows are no ports
		}
		q.Source = netip.AddrFrom4([4]byte(h[12:16]))
		q.Destination = netip.AddrFrom4([4]byte(h[16:20]))
		q.Protocol = h[9]
		q.Transport = at + header
	case 6:
		if at+ipv6Header > end {
			return
		}
		h := f.Data[at:]
		source, destination := [16]byte(h[8:24]), [16]byte(h[24:40])
		if isMapped(&source) || isMapped(&destination) {
			return
		}
		q.Source = netip.AddrFrom16(source)
		q.Destination = netip.AddrFrom16(destination)
		if q.extensions(f, at, h[6], end, false) != 0 || q.FragmentOffset > 0 {
			return
		}
	}
	if q.HasPorts() || q.IsICMP() {
		if q.Transport+icmpHeader > end {
			return
		}
		h := f.Data[q.Transport:end]
		if q.IsICMP() {
			if isICMPError(q.Protocol, h[0]) {
				return // no error answers an error (RFC 1122 3.2.2)
			}
			p.QuotedIsReply = q.setICMP(h)
		} else {
			q.SourcePort, q.DestinationPort = be16(h), be16(h[2:])
		}
	}
	p.HasQuote = true
	p.Quoted = q.Tuple
}
