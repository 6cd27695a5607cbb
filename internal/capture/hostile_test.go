package capture_test

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/capture"
)

// TestHostile: what cannot be is refused with its place, in bounded memory.
func TestHostile(t *testing.T) {
	head := pcapHeader(little, 0xa1b2c3d4, 1)
	huge := pcapRecord(little, 0, 0, "", 4)
	little.AppendUint32(huge[:8], 0xfffffff0)
	ng := section(little)
	described := join(ng, networkInterface(little, 1, 0))
	giant := ngBlock(little, 0x99, make([]byte, 64))
	little.AppendUint32(giant[:4], 0xfffffffc)
	unequal := enhanced(little, 0, 0, "data", 4)
	unequal[len(unequal)-4]++
	past := enhanced(little, 0, 0, "data", 4)
	past[20] = 5
	long := enhanced(little, 0, 0, strings.Repeat("x", capture.MaxFrame+1), 4)
	version := section(little)
	version[12] = 2
	magic := section(little)
	magic[8]++
	for _, c := range []struct {
		name string
		file []byte
		what string
	}{
		{"nothing", nil, "capture is empty"},
		{"text", []byte("GET / HTTP/1.1\r\n"), "file begins with 47455420: neither pcap nor pcapng (compressed with gzip or not)"},
		{"pcap of the future", join(head[:4], []byte{2, 0, 5}, head[7:]), "pcap version 2.5: only 2.0 to 2.4 are read"},
		{"huge record", join(head, huge), "capture is malformed at offset 24: a frame of 4294967280 bytes; at most 1048576 are read"},
		{"giant block", join(ng, giant), "capture ends at offset 116, inside what begins at offset 40"},
		{"tiny block", join(ng, []byte{9, 0, 0, 0, 8, 0, 0, 0}), "capture is malformed at offset 40: a block of 8 bytes"},
		{"odd block", join(ng, []byte{9, 0, 0, 0, 17, 0, 0, 0}), "capture is malformed at offset 40: a block of 17 bytes"},
		{"unequal lengths", join(described, unequal), "capture is malformed at offset 60: a block of 36 bytes that ends as one of 37"},
		{"frame longer than its block", join(described, past), "capture is malformed at offset 60: a frame of 5 bytes in a block of 36"},
		{"long frame", join(described, long), "capture is malformed at offset 60: a frame of 1048577 bytes; at most 1048576 are read"},
		{"no interface", join(ng, enhanced(little, 0, 0, "data", 4)), "capture is malformed at offset 40: a frame of interface 0, where 0 are described"},
		{"no interface for a simple packet", join(ng, simple(little, "data", 4)), "capture is malformed at offset 40: a frame of interface 0, where 0 are described"},
		{"another's interface", join(described, enhanced(little, 0xffffffff, 0, "data", 4)), "capture is malformed at offset 60: a frame of interface 4294967295, where 1 are described"},
		{"short packet block", join(described, ngBlock(little, 6, make([]byte, 16))), "capture is malformed at offset 60: a block of type 6 and 28 bytes"},
		{"fine time stamps", join(ng, networkInterface(little, 1, 0, option(little, 9, "\x14"))), "capture is malformed at offset 40: time stamps finer than are read (if_tsresol 0x14)"},
		{"finer", join(ng, networkInterface(little, 1, 0, option(little, 9, "\xff"))), "capture is malformed at offset 40: time stamps finer than are read (if_tsresol 0xff)"},
		{"section of version 2", join(ng, version), "capture is malformed at offset 40: pcapng version 2.0: only 1.0 is read"},
		{"section without order", join(ng, magic), "capture is malformed at offset 40: byte-order magic 4e3c2b1a"},
		{"many interfaces", join(ng, bytes.Repeat(networkInterface(little, 1, 0), capture.MaxInterfaces+1)), "capture is malformed at offset 1310760: more than 65536 interfaces"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := readAll(c.file)
			if err == nil || err.Error() != c.what || len(got) > 0 {
				t.Errorf("%d frames, %v; want %s", len(got), err, c.what)
			}
		})
	}
}

// TestMemory: a reader's memory does not grow with the file, nor with what the
// file claims.
func TestMemory(t *testing.T) {
	rest := strings.NewReader(strings.Repeat("\x00", 1<<20))
	for name, begin := range map[string][]byte{
		"records": pcapHeader(little, 0xa1b2c3d4, 1),
		"blocks":  append(section(little), networkInterface(little, 1, 0)...),
	} {
		record := pcapRecord(little, 0, 0, strings.Repeat("x", 60000), 60000)
		if name == "blocks" {
			record = enhanced(little, 0, 0, strings.Repeat("x", 60000), 60000)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := capture.NewReader(io.MultiReader(bytes.NewReader(begin), repeated(record, 2000), rest))
		if err != nil {
			t.Fatal(err)
		}
		frames := 0
		for ; err == nil; frames++ {
			_, err = r.Next()
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; frames < 2000 || used > 1<<20 {
			t.Errorf("%s: %d frames took %d bytes of memory", name, frames, used)
		}
	}
}

func repeated(b []byte, n int) io.Reader {
	all := make([]io.Reader, n)
	for i := range all {
		all[i] = bytes.NewReader(b)
	}
	return io.MultiReader(all...)
}
