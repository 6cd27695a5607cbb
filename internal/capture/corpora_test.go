package capture_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/packet"
)

// recorded finds the captures of others, which are no part of this project.
func recorded(t testing.TB) (paths []string) {
	t.Helper()
	for _, folder := range []string{"suricata", "arkime"} {
		root := filepath.Join("..", "..", "..", "shared", "corpora", folder)
		if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
			t.Skipf("no recorded captures: %s is missing", root)
		}
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && filepath.Ext(path) == ".pcap" {
				paths = append(paths, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// TestRecordedCaptures reads every recorded capture, frame by frame as another
// reader does, and decodes every frame.
func TestRecordedCaptures(t *testing.T) {
	outcomes := map[packet.Outcome]int{}
	reasons := map[packet.Reason]int{}
	checksums := map[packet.Checksum]int{}
	etherTypes := map[uint16]int{}
	tcpdump, _ := exec.LookPath("tcpdump")
	frames, unlike := 0, 0
	for _, path := range recorded(t) {
		r, err := capture.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		other, err := another(path)
		if err != nil {
			t.Logf("%s: another reader does not: %v", path, err)
		}
		fragments := packet.NewFragments(4096)
		var p packet.Packet
		count := 0
		for {
			f, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Errorf("%s: %v", path, err)
				break
			}
			count++
			data, info, err := f.Data, gopacket.CaptureInfo{Timestamp: f.Time, Length: f.WireLength}, error(nil)
			if other != nil {
				data, info, err = other()
			}
			if err != nil || !bytes.Equal(data, f.Data) || !info.Timestamp.Equal(f.Time) || info.Length != f.WireLength {
				t.Errorf("%s, frame %d: %d bytes of %d at %v, but others read %d of %d at %v, %v", path, count,
					len(f.Data), f.WireLength, f.Time, len(data), info.Length, info.Timestamp, err)
				break
			}
			outcome := fragments.Follow(&p, p.Decode(&f.Frame), 0, f.Time)
			outcomes[outcome]++
			switch outcome {
			case packet.Malformed:
				reasons[p.Reason]++
				t.Logf("%s, frame %d: %v, %v → %v", filepath.Base(path), count, p.Reason, p.Source, p.Destination)
			case packet.NotIP:
				etherTypes[p.EtherType]++
			case packet.Decoded:
				checksums[p.TransportChecksum(f.Data)]++
				if !agrees(&p, &f) {
					unlike++
					t.Errorf("%s, frame %d: another decoder does not find %+v in %x", path, count, p.Tuple, f.Data)
				}
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		frames += count
		if tcpdump != "" {
			if theirs := countedBy(t, tcpdump, path); theirs != count {
				t.Errorf("%s: %d frames, tcpdump counts %d", path, count, theirs)
			}
		}
	}
	t.Logf("%d frames: %v; malformed %v; not IP %x; checksums (unchecked, right, wrong, partial) %v; tcpdump %q",
		frames, outcomes, reasons, etherTypes, checksums, tcpdump)
}

// another is gopacket's reader of the same file.
func another(path string) (func() ([]byte, gopacket.CaptureInfo, error), error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(b, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		r, err := pcapgo.NewNgReader(bytes.NewReader(b), pcapgo.NgReaderOptions{WantMixedLinkType: true})
		if err != nil {
			return nil, err
		}
		return r.ReadPacketData, nil
	}
	r, err := pcapgo.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return r.ReadPacketData, nil
}

func countedBy(t *testing.T, tcpdump, path string) int {
	t.Helper()
	said, err := exec.Command(tcpdump, "--count", "-r", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", path, err, said)
	}
	found := regexp.MustCompile(`(?m)^(\d+) packet`).FindSubmatch(said)
	if found == nil {
		t.Fatalf("%s: %s", path, said)
	}
	n, _ := strconv.Atoi(string(found[1]))
	return n
}
