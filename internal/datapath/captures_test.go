package datapath

import (
	"encoding/binary"
	"errors"
	"flag"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/packet"
)

var capturedFrames = flag.Int("weir.captures", 0, "frames of each recorded capture that kernel and reference are compared on; 0: all")

// Recorded traffic, which is not part of the project; without it these tests are
// skipped.
const corpora = "../../../shared/corpora"

// recordedPolicies are about what captures hold.
var recordedPolicies = []policyText{
	{settings: []string{"mode: detect"}},
	{
		settings: []string{"mode: prevent", "reject: always", "non_ip: block"},
		rules: []string{
			"{name: names, action: allow, layer4: {udp: 53}}",
			"{name: some, action: allow, layer3: {source: [10.0.0.0/8, 192.168.0.0/16, 'fe80::/10', '!10.0.0.0/12']}}",
			"{name: shadow, action: block, mode: detect, layer4: {tcp: [80, 443]}}",
			"{name: web, action: allow, layer4: {tcp: [80, 443, 8080]}}",
			"{name: ping, action: allow, layer4: {icmp: echo-request, icmpv6: echo-request}}",
		},
	},
	{
		settings: []string{"mode: prevent", "reject: never", "default_action: allow", "on_error: allow"},
		rules: []string{
			"{name: low, action: block, layer4: {tcp: 1-79, udp: 1-52}}",
			"{name: group, action: block, direction: inbound, layer4: udp}",
			"{name: odd, action: block, layer3: {other_protocols: [gre, 132, 4]}}",
		},
	},
}

// left is what of the captures was not compared, or not as it was recorded.
type left struct {
	cut, unread int
	wrapped     int                     // given an Ethernet header
	links       map[packet.LinkType]int // frames that could not be
}

// TestRecordedCaptures sends recorded frames through the kernel and the reference,
// by a device as if they came in, under some policies.
func TestRecordedCaptures(t *testing.T) {
	var paths []string
	err := filepath.WalkDir(corpora, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && (strings.Contains(path, ".pcap") || strings.HasSuffix(path, ".cap")) {
			paths = append(paths, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is missing: recorded traffic is not part of the project", corpora)
	}
	if err != nil {
		t.Fatal(err)
	}
	w := newTwins(t, open(t))
	for _, text := range recordedPolicies {
		p, err := inspect(text)
		if err != nil {
			t.Fatal(err)
		}
		w.policies = append(w.policies, p)
	}
	// A change of policy takes long, so that it is the outer loop.
	for n := range w.policies {
		w.refused = 0
		total, not := 0, left{links: map[packet.LinkType]int{}}
		for _, path := range paths {
			steps := w.recorded(t, path, &not)
			total += len(steps)
			steps = append([]step{{kind: aSwap, policy: n}}, steps...)
			if difference := w.try(t, steps); difference != "" {
				t.Logf("%s: %s", path, difference)
				w.fail(t, steps)
			}
		}
		t.Logf("policy %d: %d frames of %d captures, of them %d given an Ethernet header, %d cut by the recorder and compared as far as they go; "+
			"not compared: %d that the kernel's test run refuses, others (by link type) %v, the rest of %d captures that cannot be read",
			n, total, len(paths), not.wrapped, not.cut, w.refused, not.links, not.unread)
	}
}

// recorded are the frames of a capture as steps.
func (w *twins) recorded(t *testing.T, path string, not *left) (steps []step) {
	t.Helper()
	r, err := capture.Open(path)
	if err != nil {
		not.unread++
		return nil
	}
	defer r.Close()
	for *capturedFrames == 0 || len(steps) < *capturedFrames {
		f, err := r.Next()
		if err != nil {
			var format *capture.FormatError
			if errors.As(err, &format) {
				not.unread++
			}
			break
		}
		frame, ok := ethernetFrame(&f.Frame)
		if !ok {
			not.links[f.Link]++
			continue
		}
		if f.Link != packet.LinkEthernet {
			not.wrapped++
		}
		if f.WireLength > len(f.Data) {
			not.cut++
		}
		steps = append(steps, step{kind: aPacket, at: in(outside), frame: frame})
	}
	return steps
}

// ethernetFrame is the frame with an Ethernet header; the IP packets of links
// without one are given it. ok is false for other links.
func ethernetFrame(f *packet.Frame) (frame []byte, ok bool) {
	if f.Link == packet.LinkEthernet {
		return append([]byte(nil), f.Data...), true
	}
	var p packet.Packet
	if outcome := p.Decode(f); outcome == packet.UnknownLink || p.IPVersion == 0 || p.Zone != (packet.Zone{}) {
		return nil, false
	}
	frame = binary.BigEndian.AppendUint16(make([]byte, 12, 14+len(f.Data)), p.EtherType)
	return append(frame, f.Data[p.Network:]...), true
}
