package ssh_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/corpora"
	"github.com/weirnet/weir/internal/inspect/ssh"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// connection is one of a capture.
type connection struct {
	tuple  packet.Tuple
	parser ssh.Parser
	ends   [2]struct {
		started bool
		next    uint32
		later   map[uint32][]byte
		held    []byte
	}
	is ssh.Match
}

// readCapture reads the connections of a capture that are SSH: begun by a client's
// banner, or to port 22.
func readCapture(t testing.TB, path string) (all []*connection) {
	t.Helper()
	r, err := capture.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	known := map[packet.Tuple]*connection{}
	var p packet.Packet
	for {
		f, err := r.Next()
		if err != nil {
			return all
		}
		f.FromFile = true
		if p.Decode(&f.Frame) != packet.Decoded || p.Protocol != packet.TCP {
			continue
		}
		end, c := ssh.Client, known[p.Tuple]
		if c == nil {
			end, c = ssh.Server, known[p.Tuple.Reversed()]
		}
		if c == nil || p.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN && c.ends[0].held == nil {
			end, c = ssh.Client, &connection{tuple: p.Tuple, is: ssh.More}
			if p.SourcePort == 22 { // seen from the middle on
				end, c.tuple = ssh.Server, p.Tuple.Reversed()
			}
			known[c.tuple] = c
			all = append(all, c)
		}
		h := &c.ends[end]
		if p.TCPFlags&packet.SYN != 0 || !h.started {
			h.started, h.next, h.later = true, p.Seq, map[uint32][]byte{}
			if p.TCPFlags&packet.SYN != 0 {
				h.next++
				continue
			}
		}
		if payload := p.CapturedPayload(f.Data); len(payload) > 0 && int32(p.Seq-h.next) >= 0 {
			h.later[p.Seq] = append([]byte(nil), payload...)
		}
		for data, ok := h.later[h.next]; ok; data, ok = h.later[h.next] {
			delete(h.later, h.next)
			h.next += uint32(len(data))
			h.held = append(h.held, data...)
		}
		if c.is == ssh.More && end == ssh.Client {
			c.is = ssh.Detect(h.held)
		}
		if c.is == ssh.Yes || p.DestinationPort == 22 || p.SourcePort == 22 {
			for e := range c.ends {
				c.ends[e].held = c.ends[e].held[c.parser.Read(ssh.End(e), c.ends[e].held):]
			}
		}
	}
}

func TestSuricata(t *testing.T) {
	folder := corpora.Path(t, "suricata", "l7")
	equal, total, tunnels := 0, 0, 0
	for _, c := range corpora.Expected[corpora.Check](t, "suricata", "l7") {
		if c.Match["event_type"] != "ssh" {
			continue
		}
		var found []*connection
		for _, one := range readCapture(t, filepath.Join(folder, "pcap", c.Pcap)) {
			port, ok := c.Match["src_port"].(float64)
			if (!ok || one.tuple.SourcePort == uint16(port)) && one.parser.Handshake().Banner[ssh.Server].State == policy.Known {
				found = append(found, one)
			}
		}
		if len(found) == 0 && (strings.Contains(c.Pcap, "vxlan") || strings.Contains(c.Pcap, "gre")) {
			tunnels++ // the decoder does not look into them
			continue
		}
		if len(found) != c.Count {
			t.Errorf("%s: %d handshakes, they say %d", c.Test, len(found), c.Count)
			continue
		}
		h := found[0].parser.Handshake()
		for key, want := range c.Match {
			var got string
			switch key {
			case "ssh.client.proto_version":
				got = h.Banner[0].Value.Version
			case "ssh.server.proto_version":
				got = h.Banner[1].Value.Version
			case "ssh.client.software_version":
				got = h.Banner[0].Value.Software
			case "ssh.server.software_version":
				got = h.Banner[1].Value.Software
			case "ssh.client.hassh.hash":
				got = h.HASSH[0].Value
			case "ssh.server.hassh.hash":
				got = h.HASSH[1].Value
			default:
				continue
			}
			if total++; got == want {
				equal++
			} else {
				t.Errorf("%s: %s is %q, they say %q", c.Test, key, got, want)
			}
		}
	}
	t.Logf("%d of %d fields equal; %d handshakes in tunnels", equal, total, tunnels)
}

func TestArkime(t *testing.T) {
	type session struct {
		Pcap   string
		Source struct {
			IP   string
			Port uint16
		}
		SSH *struct{ Version, HASSH, HASSHServer, Key []string } `json:"ssh"`
	}
	folder := corpora.Path(t, "arkime")
	equal, total, tunnels := 0, 0, 0
	for _, s := range corpora.Expected[session](t, "arkime") {
		if s.SSH == nil {
			continue
		}
		var h *ssh.Handshake
		for _, c := range readCapture(t, filepath.Join(folder, "pcap", s.Pcap)) {
			if c.tuple.Source == netip.MustParseAddr(s.Source.IP) && c.tuple.SourcePort == s.Source.Port {
				h = c.parser.Handshake()
			}
		}
		if h == nil {
			tunnels++
			if !strings.Contains(s.Pcap, "gre") && !strings.Contains(s.Pcap, "geneve") {
				t.Errorf("%s: not found", s.Pcap)
			}
			continue
		}
		compare := func(what, got string, want []string) {
			if total++; (got == "" && want == nil) || (len(want) == 1 && want[0] == got) {
				equal++
			} else {
				t.Errorf("%s: %s is %q, they say %q", s.Pcap, what, got, want)
			}
		}
		for _, b := range h.Banner {
			version := "SSH-" + b.Value.Version + "-" + b.Value.Software
			if b.Value.Comments != "" {
				version += " " + b.Value.Comments
			}
			var theirs []string
			for _, v := range s.SSH.Version {
				if strings.EqualFold(v, version) {
					theirs = []string{version}
				}
			}
			compare("version", version, theirs)
		}
		compare("hassh", h.HASSH[0].Value, s.SSH.HASSH)
		compare("hasshServer", h.HASSH[1].Value, s.SSH.HASSHServer)
		var keys []string
		for _, key := range s.SSH.Key {
			blob, err := base64.StdEncoding.DecodeString(key)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(blob)
			keys = append(keys, "SHA256:"+base64.RawStdEncoding.EncodeToString(sum[:]))
		}
		compare("host key", h.HostKey.Value, keys)
	}
	t.Logf("%d of %d fields equal; %d handshakes in tunnels", equal, total, tunnels)
}
