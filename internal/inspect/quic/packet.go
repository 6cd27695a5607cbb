package quic

// maxConnectionID is the longest one of versions 1 and 2 (RFC 9000 section 17.2).
const maxConnectionID = 20

// packetType is that of a long header.
type packetType uint8

const (
	initial packetType = iota
	zeroRTT
	handshakePacket
	retry
	negotiation // of versions
	unknownVersion
)

// longPacket is one with a long header (RFC 9000 section 17.2). Its fields refer to
// the datagram.
type longPacket struct {
	version             uint32
	kind                packetType
	destination, source []byte
	// number is where the packet number begins, and end where the packet does: for
	// Initial, 0-RTT and Handshake packets.
	number, end int
	// versions are those that a server offers, four bytes each.
	versions []byte
}

// reader reads numbers of variable length (RFC 9000 section 16).
type reader struct {
	data []byte
	at   int
}

func (r *reader) varint(v *uint64) bool {
	if r.at >= len(r.data) {
		return false
	}
	n := 1 << (r.data[r.at] >> 6)
	if len(r.data)-r.at < n {
		return false
	}
	*v = uint64(r.data[r.at] & 0x3f)
	for _, b := range r.data[r.at+1 : r.at+n] {
		*v = *v<<8 | uint64(b)
	}
	r.at += n
	return true
}

func (r *reader) bytes(n uint64, v *[]byte) bool {
	if uint64(len(r.data)-r.at) < n {
		return false
	}
	*v = r.data[r.at : r.at+int(n)]
	r.at += int(n)
	return true
}

func (r *reader) connectionID(v *[]byte) bool {
	var n []byte
	return r.bytes(1, &n) && r.bytes(uint64(n[0]), v)
}

// readLong reads the header of the packet that data, the rest of a datagram, begins
// with.
func readLong(data []byte) (p longPacket, ok bool) {
	r := reader{data: data, at: 1}
	var version []byte
	if len(data) == 0 || data[0]&0x80 == 0 || !r.bytes(4, &version) ||
		!r.connectionID(&p.destination) || !r.connectionID(&p.source) {
		return p, false
	}
	p.version = uint32(version[0])<<24 | uint32(version[1])<<16 | uint32(version[2])<<8 | uint32(version[3])
	if p.version == 0 {
		p.kind, p.versions = negotiation, data[r.at:]
		return p, len(p.versions)%4 == 0
	}
	if saltOf(p.version) == "" {
		p.kind = unknownVersion
		return p, true
	}
	if len(p.destination) > maxConnectionID || len(p.source) > maxConnectionID {
		return p, false
	}
	p.kind = packetType(data[0] >> 4 & 3)
	if p.version == Version2 { // RFC 9369 section 3.2: each is one more
		p.kind = (p.kind - 1) & 3
	}
	if p.kind == retry {
		return p, true
	}
	var token []byte
	var length uint64
	if p.kind == initial && (!r.varint(&length) || !r.bytes(length, &token)) {
		return p, false
	}
	if !r.varint(&length) || length > uint64(len(data)-r.at) {
		return p, false
	}
	p.number, p.end = r.at, r.at+int(length)
	return p, true
}

// minDatagram is the least size of a client's datagrams with Initial packets (RFC
// 9000 section 14.1).
const minDatagram = 1200

// Detect says whether datagram, the first of a connection's initiator, is QUIC.
// There is never a need for more. One of a version that is not known is taken for
// QUIC if it has the form and the size that all versions share (RFC 8999): what it
// asks for cannot be read.
func Detect(datagram []byte) bool {
	if len(datagram) < 7 || datagram[0]&0x80 == 0 {
		return false
	}
	version := uint32(datagram[1])<<24 | uint32(datagram[2])<<16 | uint32(datagram[3])<<8 | uint32(datagram[4])
	if saltOf(version) != "" {
		return datagram[5] <= maxConnectionID
	}
	p, ok := readLong(datagram)
	return ok && p.kind == unknownVersion && datagram[0]&0x40 != 0 && len(datagram) >= minDatagram &&
		len(p.destination) >= 8 && len(p.destination) <= maxConnectionID && len(p.source) <= maxConnectionID
}
