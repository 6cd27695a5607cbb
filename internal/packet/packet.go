package packet

import "encoding/binary"

// Bounds of what is decoded. Longer chains are malformed, deeper tags not IP.
const (
	// MaxTags is the number of VLAN tags read (802.1ad around 802.1Q).
	MaxTags = 2
	// MaxExtensions is the number of IPv6 extension headers read.
	MaxExtensions = 8
	// MaxHeaderBytes is how far after the start of its IP header a packet's
	// transport header may begin.
	MaxHeaderBytes = 1024
)

// Frame is what Decode is given: bytes, and what is known beside them.
type Frame struct {
	// Data is the frame from its link header on, as far as it was captured.
	Data []byte
	// Link says how Data begins.
	Link LinkType
	// WireLength is the frame's length where it was seen; less than len(Data)
	// stands for len(Data).
	WireLength int
	// Zone is that of the interface: the ids that VLAN interfaces have taken off, or
	// its VRF.
	Zone Zone
	// GSOSize is the number of payload bytes in each segment of a superpacket,
	// which the network card will cut (or has joined); 0 where it is none.
	GSOSize int
	// FromFile says that the frame was recorded. What the network card was left to
	// do is then told from the bytes; and there is no host to guard against header
	// checksums (left to the card, or not mended when addresses were made
	// anonymous) and IPv4-mapped addresses, so that these are taken as they are.
	FromFile bool
}

// Outcome says what Decode made of a frame, and which fields it filled in.
type Outcome uint8

const (
	// Decoded: every field is valid as its comment says.
	Decoded Outcome = iota
	// NotIP: EtherType and Zone are valid.
	NotIP
	// Malformed: Reason is valid. IPVersion is not 0 where the IP header could
	// be read; the addresses are valid then.
	Malformed
	// LaterFragment: all but the ports and what else a transport header holds.
	// Fragments.Follow knows them, if it has seen the first fragment. Of IPv6,
	// Protocol may name an extension header until then.
	LaterFragment
	// UnknownLink: Decode does not know the frame's link type.
	UnknownLink
)

// String names the outcome.
func (o Outcome) String() string {
	names := [...]string{"decoded", "not_ip", "malformed", "later_fragment", "unknown_link"}
	if int(o) < len(names) {
		return names[o]
	}
	return "unknown"
}

// Packet is one decoded packet. Use one again and again: Decode sets all of it.
type Packet struct {
	// Tuple bears the ports as on the wire: its source is the sender, even of a
	// reply. ICMP replies bear their query's type (RFC 792, 950, 4443, 8335).
	Tuple
	// EtherType is the type of what follows link header and tags; LLC frames,
	// which have none, bear EtherTypeLLC. Not valid for UnknownLink.
	EtherType uint16
	// IPVersion is 4 or 6; 0 where no IP header was read.
	IPVersion uint8
	HopLimit  uint8
	// Reason is valid for Malformed.
	Reason Reason
	// HasOptions: IPv4 options or IPv6 extension headers.
	HasOptions bool
	// IsReply: ICMP, the sender answers a query.
	IsReply bool
	// IsError: ICMP, the packet reports on the one it quotes.
	IsError bool
	// HasQuote: Quoted and QuotedIsReply are valid. Not every error has one: it
	// may be cut short, or be of a fragment without ports.
	HasQuote      bool
	Quoted        Tuple
	QuotedIsReply bool

	// TCPFlags, Seq and Ack are valid for TCP.
	TCPFlags uint8
	Seq, Ack uint32
	// HasOddFlags: TCP flags that no stack sends, and none takes for part of a
	// connection. The segment is judged by its tuple, but must not open, close or
	// change what is known of one.
	HasOddFlags bool

	// IsFragment: FragmentID, FragmentOffset and FragmentLength are valid. The
	// first fragment has offset 0. An atomic fragment (RFC 6946) is none.
	IsFragment bool
	FragmentID uint32
	// FragmentOffset and FragmentLength are bytes of the fragmented datagram.
	FragmentOffset int
	FragmentLength int

	// Network, Transport and Payload are offsets into the frame's data;
	// PayloadLength is that of the wire, which may be more than was captured.
	Network       int
	Transport     int
	Payload       int
	PayloadLength int

	// Packets is 1, or the number of a superpacket's segments.
	Packets int
	// Bytes is the length in IP bytes, each segment with headers of its own;
	// what pads the frame is not part of it.
	Bytes int

	more    bool // further fragments follow
	ahead   int  // bytes of the datagram before what is fragmented
	phantom int  // bytes of headers that never reach the wire (jumbo option)
	routed  bool // a routing header names other destinations
}

// TCP flags as in the header's fourteenth byte (RFC 9293 3.1).
const (
	FIN uint8 = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
)

// Decode reads the frame's packet into p.
func (p *Packet) Decode(f *Frame) Outcome {
	*p = Packet{}
	p.Zone = f.Zone
	wire := max(f.WireLength, len(f.Data))
	at, outcome := p.link(f, wire)
	if outcome != Decoded {
		return outcome
	}
	p.Network = at
	switch p.EtherType {
	case EtherTypeIPv4:
		return p.ipv4(f, at, wire)
	case EtherTypeIPv6:
		return p.ipv6(f, at, wire)
	}
	return NotIP
}

// CapturedPayload is the payload as far as data, the decoded frame's, holds it.
func (p *Packet) CapturedPayload(data []byte) []byte {
	from, to := min(p.Payload, len(data)), min(p.Payload+p.PayloadLength, len(data))
	return data[from:to]
}

func (p *Packet) malformed(why Reason) Outcome {
	p.Reason = why
	return Malformed
}

// missing says why the n bytes at `at` cannot be read from a packet that ends
// at end on the wire; 0 if they can.
func (p *Packet) missing(f *Frame, at, n, end int) Reason {
	switch {
	case at+n > end && p.IsFragment:
		return TinyFragment
	case at+n > end:
		return Short
	case at+n > len(f.Data):
		return Cut
	}
	return 0
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
