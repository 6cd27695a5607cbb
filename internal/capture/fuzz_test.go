package capture_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/packet"
)

// FuzzReader: whatever the file, reading it ends, its frames are within bounds
// and decode without a panic, and come out the same read byte by byte.
func FuzzReader(f *testing.F) {
	at := uint64(seen.UnixNano())
	pcap := join(pcapHeader(little, 0xa1b23c4d, 1), pcapRecord(little, 1, 2, "data", 40), pcapRecord(little, 3, 4, "more", 4))
	pcapng := join(section(big), networkInterface(big, 101, 3, option(big, 9, "\x8a"), option(big, 14, "\x00\x00\x00\x00\x00\x00\x00\x01")),
		enhanced(big, 0, at, "data", 4, option(big, 1, "comment")), simple(big, "data", 4), section(little), networkInterface(little, 1, 0), enhanced(little, 0, 1, "", 9))
	for _, file := range [][]byte{pcap, pcapng} {
		f.Add(file)
		f.Add(zip(f, file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := capture.NewReader(bytes.NewReader(file))
		slow, slowErr := capture.NewReader(iotest.OneByteReader(bytes.NewReader(file)))
		if (err == nil) != (slowErr == nil) {
			t.Fatalf("%v, but byte by byte %v", err, slowErr)
		}
		var p packet.Packet
		for err == nil {
			var a, b capture.Frame
			a, err = r.Next()
			if b, slowErr = slow.Next(); (err == nil) != (slowErr == nil) || errors.Is(err, io.EOF) != errors.Is(slowErr, io.EOF) {
				t.Fatalf("%v, but byte by byte %v", err, slowErr)
			}
			if !a.Time.Equal(b.Time) || a.Link != b.Link || a.WireLength != b.WireLength || !bytes.Equal(a.Data, b.Data) {
				t.Fatalf("%+v, but byte by byte %+v", a, b)
			}
			if len(a.Data) > a.WireLength || a.WireLength > capture.MaxFrame {
				t.Fatalf("%d bytes of %d", len(a.Data), a.WireLength)
			}
			if err == nil {
				p.Decode(&a.Frame)
			}
		}
		if r != nil {
			if _, again := r.Next(); again != err {
				t.Fatalf("%v, then %v", err, again)
			}
		}
	})
}
