package packet

// Reason says why a frame is malformed.
type Reason uint8

// The reasons. What Linux or the RFCs drop for the same cause stands beside them.
const (
	_ Reason = iota
	// Short: the frame, or the IP packet by its own length, ends inside a header.
	Short
	// Cut: the recording does not hold a header that was on the wire.
	Cut
	// BadVersion: an IP header of a version its link header does not name.
	BadVersion
	// BadHeaderLength: an IPv4 or TCP header shorter than its fixed part, or a
	// TCP header longer than the packet.
	BadHeaderLength
	// BadTotalLength: the IP length is less than the header or more than the
	// frame (ip_rcv_core and ip6_rcv_core drop it).
	BadTotalLength
	// BadChecksum: of the IPv4 header (RFC 1122 3.2.1.2: silently discarded). Not
	// of a recorded frame.
	BadChecksum
	// MappedAddress: an IPv4-mapped address in an IPv6 header. It would be judged
	// and tracked as IPv4; Linux drops it as a source (ipv6_rcv). Not of a recorded
	// frame.
	MappedAddress
	// TooManyExtensions: IPv6 extension headers beyond MaxExtensions or
	// MaxHeaderBytes.
	TooManyExtensions
	// BadExtensionOrder: hop-by-hop options that are not first, or a second
	// fragment header (RFC 8200 4.1).
	BadExtensionOrder
	// TinyFragment: a first fragment without the whole transport header (RFC
	// 1858, 7112): its ports or flags would come in a fragment not looked at.
	TinyFragment
	// BadFragment: empty, not a multiple of eight bytes though more follow, or
	// beyond the largest datagram (the "ping of death").
	BadFragment
	// Overlap: a fragment of bytes that another already brought (RFC 5722).
	Overlap
	// Scattered: fragments of one datagram in more than MaxPieces places.
	Scattered
	// BadLength: the UDP length is less than its header or more than the packet.
	BadLength
	// BadTag: an inner VLAN id of 4095, which no VLAN has (IEEE 802.1Q 9.6). Zones
	// of VRFs are written with it (bpf/flow.h).
	BadTag
)

// String names the reason.
func (r Reason) String() string {
	names := [...]string{
		"", "short", "cut", "bad_version", "bad_header_length", "bad_total_length", "bad_checksum",
		"mapped_address", "too_many_extensions", "bad_extension_order", "tiny_fragment",
		"bad_fragment", "overlap", "scattered", "bad_length", "bad_tag",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}
