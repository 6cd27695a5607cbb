package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// The block format: draft-ietf-opsawg-pcapng.
const (
	blockSection        = 0x0a0d0d0a
	blockInterface      = 1
	blockPacket         = 2 // obsolete
	blockSimplePacket   = 3
	blockEnhancedPacket = 6

	byteOrderMagic = 0x1a2b3c4d

	blockHeader    = 8 // type, length
	blockTrailer   = 4 // the length again
	sectionFixed   = 16
	interfaceFixed = 8
	packetFixed    = 20
	simpleFixed    = 4
)

var sectionMagic = []byte{0x0a, 0x0d, 0x0d, 0x0a}

// pcapng reads a file of blocks. Each section may have another byte order, and
// has interfaces of its own.
type pcapng struct {
	r          *Reader
	order      binary.ByteOrder
	interfaces []networkInterface
}

// block is one whose header has been taken.
type block struct {
	kind  uint32
	began int64
	body  int64 // bytes between header and trailer that are left
	size  uint32
}

func (n *pcapng) open() error {
	b, err := n.block()
	if err != nil {
		return err
	}
	return n.section(&b)
}

// next skips to the next packet, and reads what it needs on the way.
func (n *pcapng) next() (Frame, error) {
	for {
		b, err := n.block()
		if err != nil {
			return Frame{}, err
		}
		switch b.kind {
		case blockSection:
			err = n.section(&b)
		case blockInterface:
			err = n.networkInterface(&b)
		case blockPacket, blockEnhancedPacket, blockSimplePacket:
			return n.packet(&b)
		default:
			err = n.finish(&b)
		}
		if err != nil {
			return Frame{}, err
		}
	}
}

// block reads a block's header; io.EOF where there is none. A section's is read
// in its own byte order.
func (n *pcapng) block() (b block, err error) {
	s := &n.r.source
	b.began = s.at
	h, err := s.peek(blockHeader)
	if err == io.EOF && len(h) == 0 {
		return b, io.EOF
	}
	if err != nil {
		return b, s.cut(err, b.began)
	}
	if [4]byte(h) == [4]byte(sectionMagic) { // a palindrome
		if h, err = s.peek(blockHeader + 4); err != nil {
			return b, s.cut(err, b.began)
		}
		switch {
		case binary.LittleEndian.Uint32(h[8:]) == byteOrderMagic:
			n.order = binary.LittleEndian
		case binary.BigEndian.Uint32(h[8:]) == byteOrderMagic:
			n.order = binary.BigEndian
		default:
			return b, &FormatError{b.began, fmt.Sprintf("byte-order magic %x", h[8:12])}
		}
	}
	b.kind, b.size = n.order.Uint32(h), n.order.Uint32(h[4:])
	if b.size < blockHeader+blockTrailer || b.size%4 != 0 {
		return b, &FormatError{b.began, fmt.Sprintf("a block of %d bytes", b.size)}
	}
	b.body = int64(b.size) - blockHeader - blockTrailer
	s.take(blockHeader)
	return b, nil
}

// fixed takes the bytes, length of them, that a kind of block begins with.
func (n *pcapng) fixed(b *block, length int) ([]byte, error) {
	if b.body < int64(length) {
		return nil, &FormatError{b.began, fmt.Sprintf("a block of type %d and %d bytes", b.kind, b.size)}
	}
	h, err := n.r.source.peek(length)
	if err != nil {
		return nil, n.r.source.cut(err, b.began)
	}
	n.r.source.take(length)
	b.body -= int64(length)
	return h, nil
}

// finish skips what is left of a block, and checks that it ends as it began.
func (n *pcapng) finish(b *block) error {
	s := &n.r.source
	if err := s.skip(b.body); err != nil {
		return s.cut(err, b.began)
	}
	trailer, err := s.peek(blockTrailer)
	if err != nil {
		return s.cut(err, b.began)
	}
	if again := n.order.Uint32(trailer); again != b.size {
		return &FormatError{b.began, fmt.Sprintf("a block of %d bytes that ends as one of %d", b.size, again)}
	}
	s.take(blockTrailer)
	return nil
}

// section begins a section: what was known of interfaces is over.
func (n *pcapng) section(b *block) error {
	h, err := n.fixed(b, sectionFixed)
	if err != nil {
		return err
	}
	// Minor version 2 is written by some; it is the same (section 4.1).
	if major, minor := n.order.Uint16(h[4:]), n.order.Uint16(h[6:]); major != 1 || minor != 0 && minor != 2 {
		return &FormatError{b.began, fmt.Sprintf("pcapng version %d.%d: only 1.0 is read", major, minor)}
	}
	n.interfaces = n.interfaces[:0]
	return n.finish(b)
}

// packet reads a packet block of any kind.
func (n *pcapng) packet(b *block) (Frame, error) {
	s := &n.r.source
	seen := n.r.last
	var number, held, wire uint32
	if b.kind == blockSimplePacket {
		h, err := n.fixed(b, simpleFixed)
		if err != nil {
			return Frame{}, err
		}
		wire = n.order.Uint32(h)
		held = min(wire, uint32(b.body))
		if len(n.interfaces) > 0 && n.interfaces[0].snapLength > 0 {
			held = min(held, n.interfaces[0].snapLength)
		}
	} else {
		h, err := n.fixed(b, packetFixed)
		if err != nil {
			return Frame{}, err
		}
		number = n.order.Uint32(h)
		if b.kind == blockPacket {
			number = uint32(n.order.Uint16(h)) // the rest counts drops
		}
		held, wire = n.order.Uint32(h[12:]), n.order.Uint32(h[16:])
		if int64(number) < int64(len(n.interfaces)) {
			seen = n.interfaces[number].time(uint64(n.order.Uint32(h[4:]))<<32 | uint64(n.order.Uint32(h[8:])))
		}
	}
	switch {
	case int64(number) >= int64(len(n.interfaces)):
		return Frame{}, &FormatError{b.began, fmt.Sprintf("a frame of interface %d, where %d are described", number, len(n.interfaces))}
	case int64(held) > b.body:
		return Frame{}, &FormatError{b.began, fmt.Sprintf("a frame of %d bytes in a block of %d", held, b.size)}
	case held > MaxFrame:
		return Frame{}, &FormatError{b.began, fmt.Sprintf("a frame of %d bytes; at most %d are read", held, MaxFrame)}
	}
	// The frame stays in place while the rest is skipped, which is mostly a
	// trailer: a long one is skipped when the next is asked for.
	rest := b.body - int64(held)
	if rest > sourceBuffer {
		return n.copied(b, seen, number, held, wire)
	}
	all, err := s.peek(int(b.body) + blockTrailer)
	if err != nil {
		return Frame{}, s.cut(err, b.began)
	}
	if again := n.order.Uint32(all[b.body:]); again != b.size {
		return Frame{}, &FormatError{b.began, fmt.Sprintf("a block of %d bytes that ends as one of %d", b.size, again)}
	}
	s.take(len(all))
	return newFrame(seen, n.interfaces[number].link, all[:held], wire), nil
}

// copied reads a packet block with more options than are kept beside the frame.
func (n *pcapng) copied(b *block, seen time.Time, number, held, wire uint32) (Frame, error) {
	s := &n.r.source
	data, err := s.peek(int(held))
	if err != nil {
		return Frame{}, s.cut(err, b.began)
	}
	data = append([]byte(nil), data...)
	if err := n.finish(b); err != nil {
		return Frame{}, err
	}
	return newFrame(seen, n.interfaces[number].link, data, wire), nil
}
