package datapath

import (
	"encoding/binary"

	"github.com/weirnet/weir/internal/packet"
)

// headers is how a frame is put together, beside its tuple.
type headers struct {
	to       [6]byte  // MAC address
	tags     []uint16 // VLAN ids, the outer one first
	hopLimit uint8
	options  bool // IPv4 options, or IPv6 extension headers
	// A fragment, where id is not 0: where it begins, in units of eight bytes.
	id     uint32
	offset uint16
	more   bool
}

// build is a frame whose IP packet carries the payload.
func (h *headers) build(tp packet.Tuple, payload []byte) []byte {
	b := make([]byte, 12, 14+8+60+len(payload))
	copy(b, h.to[:])
	b[6], b[11] = 2, 1
	for i, id := range h.tags {
		kind := uint16(0x8100)
		if i == 0 && len(h.tags) > 1 {
			kind = 0x88a8
		}
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, kind), id)
	}
	if tp.Source.Is4() {
		return append(append(binary.BigEndian.AppendUint16(b, packet.EtherTypeIPv4), h.ipv4(tp, len(payload))...), payload...)
	}
	return append(append(binary.BigEndian.AppendUint16(b, packet.EtherTypeIPv6), h.ipv6(tp, len(payload))...), payload...)
}

func (h *headers) ipv4(tp packet.Tuple, payload int) []byte {
	ip := make([]byte, 20, 24)
	if h.options {
		ip = append(ip, 1, 1, 1, 0) // three times "no operation"
	}
	ip[0], ip[8], ip[9] = 0x40|byte(len(ip)/4), h.hopLimit, tp.Protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+payload))
	if h.id != 0 {
		binary.BigEndian.PutUint16(ip[4:], uint16(h.id))
		field := h.offset
		if h.more {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(ip[6:], field)
	}
	copy(ip[12:], tp.Source.AsSlice())
	copy(ip[16:], tp.Destination.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip))
	return ip
}

func (h *headers) ipv6(tp packet.Tuple, payload int) []byte {
	ip := make([]byte, 40, 64)
	ip[0], ip[7] = 0x60, h.hopLimit
	copy(ip[8:], tp.Source.AsSlice())
	copy(ip[24:], tp.Destination.AsSlice())
	next := &ip[6]
	if h.options {
		*next = 60 // destination options: padding
		ip = append(ip, 0, 0, 1, 4, 0, 0, 0, 0)
		next = &ip[40]
	}
	if h.id != 0 {
		*next = 44
		at := len(ip)
		field := h.offset << 3
		if h.more {
			field |= 1
		}
		ip = binary.BigEndian.AppendUint16(append(ip, 0, 0), field)
		ip = binary.BigEndian.AppendUint32(ip, h.id)
		next = &ip[at]
	}
	*next = tp.Protocol
	binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40+payload))
	return ip
}

// fragments cuts the payload at `at`, a number of units of eight bytes.
func (h headers) fragments(tp packet.Tuple, payload []byte, id uint32, at ...int) (frames [][]byte) {
	h.id = id
	from := 0
	for _, to := range append(at, 0) {
		h.more = to != 0
		end := min(to*8, len(payload))
		if !h.more {
			end = len(payload)
		}
		if end <= from {
			continue
		}
		h.offset = uint16(from / 8)
		frames = append(frames, h.build(tp, payload[from:end]))
		from = end
	}
	return frames
}

// segment is a TCP segment: transport header and payload.
func segment(tp packet.Tuple, flags byte, seq, ack uint32, payload int) []byte {
	b := make([]byte, 20+payload)
	binary.BigEndian.PutUint16(b, tp.SourcePort)
	binary.BigEndian.PutUint16(b[2:], tp.DestinationPort)
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], ack)
	b[12], b[13] = 5<<4, flags
	return b
}

func udpDatagram(tp packet.Tuple, payload int) []byte {
	b := make([]byte, 8+payload)
	binary.BigEndian.PutUint16(b, tp.SourcePort)
	binary.BigEndian.PutUint16(b[2:], tp.DestinationPort)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}

// icmpMessage has an identifier where the type has one, zeros elsewhere.
func icmpMessage(kind, code byte, id uint16, body []byte) []byte {
	b := make([]byte, 8, 8+len(body))
	b[0], b[1] = kind, code
	binary.BigEndian.PutUint16(b[4:], id)
	return append(b, body...)
}
