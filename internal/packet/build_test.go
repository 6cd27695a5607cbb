package packet_test

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// The frames of these tests are put together here, header by header.

var (
	source4      = netip.MustParseAddr("192.0.2.1")
	destination4 = netip.MustParseAddr("198.51.100.2")
	source6      = netip.MustParseAddr("2001:db8::1")
	destination6 = netip.MustParseAddr("2001:db8::2")

	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// between is the tuple of what ipv4 and ipv6 build, of the version of protocol.
func between(version int, protocol uint8) packet.Tuple {
	t := packet.Tuple{Source: source4, Destination: destination4, Protocol: protocol}
	if version == 6 {
		t.Source, t.Destination = source6, destination6
	}
	if t.HasPorts() {
		t.SourcePort, t.DestinationPort = 40000, 443
	}
	return t
}

func cat(b ...byte) []byte { return b }

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func ethernet(kind uint16, payload ...[]byte) []byte {
	head := make([]byte, 14)
	head[0], head[6] = 2, 2
	binary.BigEndian.PutUint16(head[12:], kind)
	return append(head, join(payload...)...)
}

// ipv4 builds a whole packet; its identification is 1.
func ipv4(protocol uint8, payload ...[]byte) []byte {
	return ipv4With(nil, protocol, payload...)
}

func ipv4With(options []byte, protocol uint8, payload ...[]byte) []byte {
	body := join(payload...)
	h := make([]byte, 20, 20+len(options)+len(body))
	h[0] = 0x40 | byte(5+len(options)/4)
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(options)+len(body)))
	h[5], h[8], h[9] = 1, 64, protocol
	copy(h[12:], source4.AsSlice())
	copy(h[16:], destination4.AsSlice())
	b := append(append(h, options...), body...)
	return checked4(b)
}

// checked4 sets the header checksum, whatever else was changed.
func checked4(b []byte) []byte {
	b[10], b[11] = 0, 0
	total := 0
	for i := 0; i+1 < min(int(b[0]&15)*4, len(b)); i += 2 {
		total += int(binary.BigEndian.Uint16(b[i:]))
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(total))
	return b
}

// changed4 is an IPv4 packet with the byte at i changed, its checksum right again.
func changed4(b []byte, i int, to byte) []byte {
	b[i] = to
	return checked4(b)
}

// fragment4 is a UDP fragment with its payload at offset.
func fragment4(id, offset uint16, more bool, payload []byte) []byte {
	return fragment4Of(packet.UDP, id, offset, more, payload)
}

func fragment4Of(protocol uint8, id, offset uint16, more bool, payload []byte) []byte {
	b := ipv4(protocol, payload)
	binary.BigEndian.PutUint16(b[4:], id)
	field := offset / 8
	if more {
		field |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], field)
	return checked4(b)
}

func ipv6(next uint8, payload ...[]byte) []byte {
	body := join(payload...)
	h := make([]byte, 40, 40+len(body))
	h[0], h[6], h[7] = 0x60, next, 63
	binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
	copy(h[8:], source6.AsSlice())
	copy(h[24:], destination6.AsSlice())
	return append(h, body...)
}

// extension is an extension header of eight bytes, padding inside.
func extension(next uint8) []byte { return cat(next, 0, 1, 4, 0, 0, 0, 0) }

func extensions(n int, last uint8) (all []byte) {
	for i := range n {
		next := uint8(60)
		if i == n-1 {
			next = last
		}
		all = append(all, extension(next)...)
	}
	return all
}

func fragmentHeader(next uint8, id byte, offset uint16, more bool) []byte {
	field := offset
	if more {
		field |= 1
	}
	return cat(next, 0, byte(field>>8), byte(field), 0, 0, 0, id)
}

func tcp(flags uint8, payload string) []byte {
	h := make([]byte, 20)
	binary.BigEndian.PutUint16(h, 40000)
	binary.BigEndian.PutUint16(h[2:], 443)
	binary.BigEndian.PutUint32(h[4:], 0x01020304)
	binary.BigEndian.PutUint32(h[8:], 0x05060708)
	h[12], h[13] = 5<<4, flags
	return append(h, payload...)
}

func udp(payload string) []byte {
	h := make([]byte, 8)
	binary.BigEndian.PutUint16(h, 40000)
	binary.BigEndian.PutUint16(h[2:], 443)
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(payload)))
	return append(h, payload...)
}

func changed(b []byte, i int, to byte) []byte {
	b[i] = to
	return b
}
