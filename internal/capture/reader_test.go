package capture_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/packet"
)

func TestPcap(t *testing.T) {
	for _, c := range []struct {
		name  string
		order order
		magic uint32
		link  uint32
		unit  time.Duration
	}{
		{"little endian, microseconds", little, 0xa1b2c3d4, 1, time.Microsecond},
		{"big endian, microseconds", big, 0xa1b2c3d4, 101, time.Microsecond},
		{"little endian, nanoseconds", little, 0xa1b23c4d, 113, time.Nanosecond},
		{"big endian, nanoseconds", big, 0xa1b23c4d, 276, time.Nanosecond},
		{"frame check sequence", little, 0xa1b2c3d4, 0x24000001, time.Microsecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			fraction := uint32(time.Duration(seen.Nanosecond()) / c.unit)
			file := bytes.Join([][]byte{
				pcapHeader(c.order, c.magic, c.link),
				pcapRecord(c.order, uint32(seen.Unix()), fraction, "whole", 5),
				pcapRecord(c.order, uint32(seen.Unix()), 0, "cut", 1500),
				pcapRecord(c.order, 0xffffffff, 0, "", 0),
				pcapRecord(c.order, 0, 0, "longer than it was", 4),
			}, nil)
			link := packet.LinkType(c.link)
			check(t, file, nil, []want{
				{seen.Truncate(c.unit), link, "whole", 5},
				{seen.Truncate(time.Second), link, "cut", 1500},
				{time.Unix(0xffffffff, 0).UTC(), link, "", 0},
				{time.Unix(0, 0).UTC(), link, "longer than it was", 18},
			})
		})
	}
}

// check reads the file as it is and compressed.
func check(t *testing.T, file []byte, wrong error, frames []want) {
	t.Helper()
	for _, b := range [][]byte{file, zip(t, file), append(zip(t, file[:1]), zip(t, file[1:])...)} {
		got, err := readAll(b)
		if !reflect.DeepEqual(err, wrong) {
			t.Errorf("error %v, want %v", err, wrong)
		}
		if !reflect.DeepEqual(got, frames) {
			t.Errorf("frames %v, want %v", got, frames)
		}
	}
}

func TestModifiedPcap(t *testing.T) {
	record := pcapRecord(little, uint32(seen.Unix()), 0, "12345678data", 4)
	record[8] = 4
	check(t, join(pcapHeader(little, 0xa1b2cd34, 1), record), nil, []want{{seen.Truncate(time.Second), 1, "data", 4}})
}

// TestOldPcap: before version 2.4 the two lengths came in either order.
func TestOldPcap(t *testing.T) {
	file := join(pcapHeader(big, 0xa1b2c3d4, 1), pcapRecord(big, 1, 0, "data", 40), pcapRecord(big, 2, 0, "data", 40))
	file[7] = 1
	copy(file[24+8:], []byte{0, 0, 0, 40, 0, 0, 0, 4})
	check(t, file, nil, []want{{time.Unix(1, 0).UTC(), 1, "data", 40}, {time.Unix(2, 0).UTC(), 1, "data", 40}})
}

func TestPcapng(t *testing.T) {
	at := uint64(seen.UnixNano())
	for _, o := range []order{little, big} {
		other := little
		if o == little {
			other = big
		}
		file := bytes.Join([][]byte{
			section(o),
			networkInterface(o, 1, 0),
			networkInterface(o, 101, 4, option(o, 2, "eth0"), option(o, 9, "\x09"), option(o, 0, "")),
			networkInterface(o, 113, 0, option(o, 9, "\x8a"), option(o, 14, string(o.AppendUint64(nil, 3600)))),
			networkInterface(o, 1, 0, option(o, 9, "\x00"), option(o, 14, string(o.AppendUint64(nil, ^uint64(0))))),
			ngBlock(o, 5, make([]byte, 12)), // statistics
			enhanced(o, 0, at/1000, "micro", 5),
			enhanced(o, 1, at, "nano", 60, option(o, 1, "a comment"), option(o, 2, "\x00\x00\x00\x01")),
			ngBlock(o, 0x80000123, make([]byte, 100000)), // someone's own
			enhanced(o, 2, uint64(seen.Unix())<<10|512, "binary", 6),
			enhanced(o, 3, uint64(seen.Unix()), "seconds", 7),
			simple(o, "simple", 6),
			section(other),
			networkInterface(other, 228, 3),
			simple(other, "cut", 1500),
			ngBlock(other, 2, append(append(other.AppendUint16(other.AppendUint16(nil, 0), 7),
				other.AppendUint32(other.AppendUint32(other.AppendUint32(other.AppendUint32(nil, 0), 2000000), 3), 3)...), "old"...)),
			enhanced(other, 0, 3000000, "much comment", 12, option(other, 1, strings.Repeat("c", 65535)), option(other, 1, "c")),
			enhanced(other, 0, 4000000, "the end", 7),
		}, nil)
		check(t, file, nil, []want{
			{seen.Truncate(time.Microsecond), 1, "micro", 5},
			{seen, 101, "nano", 60},
			{seen.Truncate(time.Second).Add(time.Hour + time.Second/2), 113, "binary", 6},
			{seen.Truncate(time.Second).Add(-time.Second), 1, "seconds", 7},
			{seen.Truncate(time.Second).Add(-time.Second), 1, "simple", 6},
			{seen.Truncate(time.Second).Add(-time.Second), 228, "cut", 1500},
			{time.Unix(2, 0).UTC(), 228, "old", 3},
			{time.Unix(3, 0).UTC(), 228, "much comment", 12},
			{time.Unix(4, 0).UTC(), 228, "the end", 7},
		})
	}
}

// TestCutOff: of a file that ends anywhere, the whole frames come, then an error
// with the place.
func TestCutOff(t *testing.T) {
	head, one := pcapHeader(little, 0xa1b2c3d4, 1), pcapRecord(little, 1, 2, "data", 4)
	ng, two := bytes.Join([][]byte{section(big), networkInterface(big, 1, 0)}, nil), enhanced(big, 0, 1, "data", 4)
	for name, parts := range map[string][][]byte{
		"pcap":   {head, one, one, one},
		"pcapng": {ng, two, two, two},
	} {
		whole := bytes.Join(parts, nil)
		for n := 1; n < len(whole); n++ {
			frames, began := 0, 0
			for i, end := 0, 0; i < len(parts); i++ {
				if end += len(parts[i]); end <= n {
					frames, began = i, end
				}
			}
			for _, b := range [][]byte{whole[:n], zip(t, whole[:n])} {
				got, err := readAll(b)
				if began == n || name == "pcapng" && n == len(section(big)) {
					if err != nil || len(got) != frames {
						t.Errorf("%s of %d bytes: %d frames, %v", name, n, len(got), err)
					}
					continue
				}
				var cut *capture.CutError
				if !errors.As(err, &cut) || !errors.Is(err, io.ErrUnexpectedEOF) || len(got) != frames || cut.End != int64(n) ||
					began > 0 && cut.Offset != int64(began) {
					t.Errorf("%s of %d bytes: %d frames, %v", name, n, len(got), err)
				}
			}
		}
		zipped := zip(t, whole)
		for n := 20; n < len(zipped); n++ {
			if _, err := readAll(zipped[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, compressed, of %d bytes: %v", name, n, err)
			}
		}
		zipped[len(zipped)-6]++ // the checksum
		if got, err := readAll(zipped); err == nil || len(got) != 3 {
			t.Errorf("%s, wrong checksum: %d frames, %v", name, len(got), err)
		}
	}
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "capture")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "one.pcap")
	query := "\x45\x00\x00\x1c\x00\x00\x00\x00\x40\x11\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02\x9c\x40\x00\x35\x00\x08\x00\x00"
	file := append(pcapHeader(little, 0xa1b2c3d4, 101), pcapRecord(little, 1767323045, 0, query, 28)...)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		panic(err)
	}

	r, err := capture.Open(path)
	if err != nil {
		panic(err)
	}
	defer r.Close()
	var p packet.Packet
	for {
		f, err := r.Next()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(f.Time.Format(time.RFC3339), p.Decode(&f.Frame), p.Source, p.DestinationPort)
	}
	// Output:
	// 2026-01-02T03:04:05Z decoded 10.0.0.1 53
	// EOF
}
