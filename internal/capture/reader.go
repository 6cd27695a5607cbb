// Package capture reads recorded traffic: pcap and pcapng files, compressed with
// gzip or not. Files are taken for hostile: whatever they hold, a reader needs
// bounded memory, and what is wrong is named with its place.
package capture

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// Bounds of what is read.
const (
	// MaxFrame is the longest frame, in bytes: twice Linux's longest superpacket
	// (GSO_MAX_SIZE), and four times the longest frame that tcpdump writes.
	MaxFrame = 1 << 20
	// MaxInterfaces is the number of interfaces in a section of a pcapng file.
	MaxInterfaces = 1 << 16
)

// Frame is one recorded frame. Its Data are valid until the next call of Next.
type Frame struct {
	// Time is when it was seen, in UTC. A simple packet block (pcapng) bears
	// none: its frame has the time of the one before, or 1970.
	Time time.Time
	// Frame is what packet.Packet.Decode takes. WireLength is at least the number
	// of bytes recorded, whatever the file says.
	packet.Frame
}

// Reader reads the frames of one file in turn. Not for concurrent use.
type Reader struct {
	source source
	next   func() (Frame, error) // of the file's format
	file   io.Closer
	err    error
	last   time.Time
}

// FormatError is something in a file that does not belong there.
type FormatError struct {
	// Offset is the number of bytes before the record or block, after
	// decompression.
	Offset int64
	What   string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("capture is malformed at offset %d: %s", e.Offset, e.What)
}

// CutError is a file that ends inside a record or block.
type CutError struct {
	// Offset is the number of bytes before that record or block, after
	// decompression: as many are whole.
	Offset int64
	// End is the number of bytes there are.
	End int64
}

func (e *CutError) Error() string {
	return fmt.Sprintf("capture ends at offset %d, inside what begins at offset %d", e.End, e.Offset)
}

// Unwrap lets errors.Is find io.ErrUnexpectedEOF.
func (e *CutError) Unwrap() error { return io.ErrUnexpectedEOF }

// Open opens a capture file.
func Open(path string) (*Reader, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open capture: %w", err)
	}
	r, err := NewReader(file)
	if err != nil {
		_ = file.Close() // nothing was written
		return nil, fmt.Errorf("open capture %s: %w", path, err)
	}
	r.file = file
	return r, nil
}

// NewReader reads a capture from wherever it is.
func NewReader(from io.Reader) (*Reader, error) {
	r := &Reader{source: newSource(from), last: time.Unix(0, 0).UTC()}
	magic, err := r.source.peek(4)
	if bytes.HasPrefix(magic, gzipMagic) {
		zipped := r.source
		unzipped, err := gzip.NewReader(&zipped)
		if err != nil {
			return nil, fmt.Errorf("read gzip header: %w", err)
		}
		r.source = newSource(unzipped)
		magic, err = r.source.peek(4)
		if err != nil {
			return nil, r.opening(err)
		}
	} else if err != nil {
		return nil, r.opening(err)
	}
	if bytes.Equal(magic, sectionMagic) {
		n := &pcapng{r: r}
		r.next = n.next
		err = n.open()
	} else {
		c := &pcap{r: r}
		r.next = c.next
		err = c.open(magic)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

var gzipMagic = []byte{0x1f, 0x8b}

// opening names what is wrong with a file of less than four bytes.
func (r *Reader) opening(err error) error {
	if errors.Is(err, io.EOF) && r.source.at == 0 && r.source.held() == 0 {
		return errors.New("capture is empty")
	}
	return r.source.cut(err, 0)
}

// Next returns the next frame, io.EOF after the last, or what is wrong with the
// file, after the frames that are whole: *FormatError, *CutError (of a gzip file
// that is cut off, too), or the error of reading or decompressing. Once it has
// returned an error it returns no more frames.
func (r *Reader) Next() (Frame, error) {
	if r.err != nil {
		return Frame{}, r.err
	}
	f, err := r.next()
	if err != nil {
		r.err = err
		return Frame{}, err
	}
	r.last = f.Time
	return f, nil
}

// Close closes the file that Open opened.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("close capture: %w", err)
	}
	return nil
}
