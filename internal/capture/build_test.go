package capture_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/packet"
)

// The captures of these tests are put together here, field by field.

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

type order = binary.AppendByteOrder

var (
	little order = binary.LittleEndian
	big    order = binary.BigEndian

	seen = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
)

func pcapHeader(o order, magic uint32, link uint32) []byte {
	b := o.AppendUint32(nil, magic)
	b = o.AppendUint16(b, 2)
	b = o.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = o.AppendUint32(b, 262144)
	return o.AppendUint32(b, link)
}

func pcapRecord(o order, seconds, fraction uint32, data string, wire uint32) []byte {
	b := o.AppendUint32(nil, seconds)
	b = o.AppendUint32(b, fraction)
	b = o.AppendUint32(b, uint32(len(data)))
	b = o.AppendUint32(b, wire)
	return append(b, data...)
}

// ngBlock pads the body and wraps it.
func ngBlock(o order, kind uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	size := uint32(len(body) + 12)
	b := o.AppendUint32(nil, kind)
	b = o.AppendUint32(b, size)
	return o.AppendUint32(append(b, body...), size)
}

func section(o order) []byte {
	b := o.AppendUint32(nil, 0x1a2b3c4d)
	b = o.AppendUint16(b, 1)
	b = o.AppendUint16(b, 0)
	b = o.AppendUint64(b, ^uint64(0))
	return ngBlock(o, 0x0a0d0d0a, append(b, option(o, 4, "a test")...))
}

func option(o order, code uint16, value string) []byte {
	b := o.AppendUint16(nil, code)
	b = o.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func networkInterface(o order, link uint16, snap uint32, options ...[]byte) []byte {
	b := o.AppendUint16(nil, link)
	b = o.AppendUint16(b, 0)
	b = o.AppendUint32(b, snap)
	return ngBlock(o, 1, append(b, bytes.Join(options, nil)...))
}

func enhanced(o order, number uint32, stamp uint64, data string, wire uint32, options ...[]byte) []byte {
	b := o.AppendUint32(nil, number)
	b = o.AppendUint32(b, uint32(stamp>>32))
	b = o.AppendUint32(b, uint32(stamp))
	b = o.AppendUint32(b, uint32(len(data)))
	b = o.AppendUint32(b, wire)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return ngBlock(o, 6, append(b, bytes.Join(options, nil)...))
}

func simple(o order, data string, wire uint32) []byte {
	return ngBlock(o, 3, append(o.AppendUint32(nil, wire), data...))
}

func zip(t testing.TB, b []byte) []byte {
	t.Helper()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return zipped.Bytes()
}

// want is a frame as the tests compare it.
type want struct {
	time time.Time
	link packet.LinkType
	data string
	wire int
}

// readAll reads what is whole, and the error after it: nil at the end.
func readAll(b []byte) (all []want, err error) {
	r, err := capture.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, want{f.Time, f.Link, string(f.Data), f.WireLength})
	}
}
