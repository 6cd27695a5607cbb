package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// The classic format: draft-ietf-opsawg-pcap.
const (
	magicMicroseconds = 0xa1b2c3d4
	magicNanoseconds  = 0xa1b23c4d
	magicModified     = 0xa1b2cd34 // longer record headers; libpcap reads it

	fileHeader       = 24
	recordHeader     = 16
	recordHeaderMore = 24
)

type pcap struct {
	r      *Reader
	order  binary.ByteOrder
	link   packet.LinkType
	unit   time.Duration // of the time stamps' fraction
	header int           // length of a record's header
	minor  uint16        // version 2
}

// open reads the file header.
func (c *pcap) open(magic []byte) error {
	c.header, c.unit = recordHeader, time.Microsecond
	if !c.readMagic(binary.LittleEndian, magic) && !c.readMagic(binary.BigEndian, magic) {
		return fmt.Errorf("file begins with %x: neither pcap nor pcapng (compressed with gzip or not)", magic)
	}
	h, err := c.r.source.peek(fileHeader)
	if err != nil {
		return c.r.source.cut(err, 0)
	}
	major := c.order.Uint16(h[4:])
	if c.minor = c.order.Uint16(h[6:]); major != 2 || c.minor > 4 {
		return fmt.Errorf("pcap version %d.%d: only 2.0 to 2.4 are read", major, c.minor)
	}
	// Above the link type's 16 bits are flags and the length of a frame check
	// sequence, which as what follows the IP packet does not matter.
	c.link = packet.LinkType(c.order.Uint32(h[20:]))
	c.r.source.take(fileHeader)
	return nil
}

func (c *pcap) readMagic(order binary.ByteOrder, magic []byte) bool {
	c.order = order
	switch order.Uint32(magic) {
	case magicMicroseconds:
	case magicNanoseconds:
		c.unit = time.Nanosecond
	case magicModified:
		c.header = recordHeaderMore
	default:
		return false
	}
	return true
}

func (c *pcap) next() (Frame, error) {
	s := &c.r.source
	began := s.at
	h, err := s.peek(c.header)
	if err == io.EOF && len(h) == 0 {
		return Frame{}, io.EOF
	}
	if err != nil {
		return Frame{}, s.cut(err, began)
	}
	// The file header's snap length does not matter: some writers do not cut to
	// what they declare.
	held, wire := c.order.Uint32(h[8:]), c.order.Uint32(h[12:])
	if c.minor < 4 {
		held, wire = min(held, wire), max(held, wire) // came in either order
	}
	if held > MaxFrame {
		return Frame{}, &FormatError{began, fmt.Sprintf("a frame of %d bytes; at most %d are read", held, MaxFrame)}
	}
	seen := time.Unix(int64(c.order.Uint32(h)), int64(c.order.Uint32(h[4:]))*int64(c.unit)).UTC()
	record, err := s.peek(c.header + int(held))
	if err != nil {
		return Frame{}, s.cut(err, began)
	}
	s.take(len(record))
	return newFrame(seen, c.link, record[c.header:], wire), nil
}

// newFrame is a frame of which data were recorded. Frames on the wire longer than
// MaxFrame cannot be: their length is taken for the longest.
func newFrame(seen time.Time, link packet.LinkType, data []byte, wire uint32) Frame {
	return Frame{Time: seen, Frame: packet.Frame{
		Data:       data[:len(data):len(data)],
		Link:       link,
		WireLength: max(int(min(wire, MaxFrame)), len(data)),
		FromFile:   true,
	}}
}
