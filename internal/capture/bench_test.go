package capture_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/packet"
)

// BenchmarkNext reads and decodes frames of 1000 bytes from memory.
func BenchmarkNext(b *testing.B) {
	frame := "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00" +
		"\x45\x00\x03\xda\x00\x00\x00\x00\x40\x11\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02" +
		"\x9c\x40\x00\x35\x03\xc6\x00\x00" + string(make([]byte, 958))
	for _, c := range []struct {
		name         string
		head, record []byte
	}{
		{"pcap", pcapHeader(little, 0xa1b2c3d4, 1), pcapRecord(little, 1, 0, frame, 1000)},
		{"pcapng", join(section(little), networkInterface(little, 1, 0)), enhanced(little, 0, 1, frame, 1000)},
	} {
		b.Run(c.name, func(b *testing.B) {
			records := bytes.Repeat(c.record, 1000)
			b.SetBytes(int64(len(c.record)))
			b.ReportAllocs()
			var r *capture.Reader
			var p packet.Packet
			for i := 0; b.Loop(); i++ {
				if i%1000 == 0 {
					var err error
					if r, err = capture.NewReader(io.MultiReader(bytes.NewReader(c.head), bytes.NewReader(records))); err != nil {
						b.Fatal(err)
					}
				}
				f, err := r.Next()
				if err != nil || p.Decode(&f.Frame) != packet.Decoded {
					b.Fatal(err, p.Reason)
				}
			}
		})
	}
}
