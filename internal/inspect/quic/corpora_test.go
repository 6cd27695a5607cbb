package quic

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/corpora"
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/packet"
)

// replay reads the QUIC connections of a capture.
func replay(t *testing.T, path string) (all []*Parser) {
	t.Helper()
	r, err := capture.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	type ends [2]netip.AddrPort
	byEnds := map[ends]*Parser{}
	pieces := packet.NewFragments(1024)
	var p packet.Packet
	for {
		f, err := r.Next()
		if err != nil {
			break
		}
		if pieces.Follow(&p, p.Decode(&f.Frame), 0, f.Time) != packet.Decoded || p.Protocol != packet.UDP {
			continue
		}
		from, to := netip.AddrPortFrom(p.Source, p.SourcePort), netip.AddrPortFrom(p.Destination, p.DestinationPort)
		datagram := p.CapturedPayload(f.Data)
		if server := byEnds[ends{to, from}]; server != nil {
			server.Read(Server, datagram)
			continue
		}
		c := byEnds[ends{from, to}]
		if c == nil {
			if !Detect(datagram) {
				continue
			}
			c = new(Parser)
			byEnds[ends{from, to}] = c
			all = append(all, c)
		}
		c.Read(Client, datagram)
	}
	return all
}

// suricataExtensions are its names of extensions.
var suricataExtensions = map[uint16]string{
	0: "server_name", 5: "status_request", 10: "supported_groups", 16: "alpn", 23: "extended_master_secret",
	43: "supported_versions", 51: "key_share",
}

// suricataFields are a handshake in its words: a record for each hello.
func suricataFields(h *Handshake) (records [2]map[string]string) {
	f := map[string]string{}
	records = [2]map[string]string{f, {}}
	if h.Client == nil {
		return records
	}
	if h.Server != nil {
		for i, kind := range h.Server.Extensions {
			records[1][fmt.Sprintf("quic.extensions[%d].name", i)] = suricataExtensions[kind]
		}
	}
	for i, kind := range h.Client.Extensions {
		f[fmt.Sprintf("quic.extensions[%d].name", i)] = suricataExtensions[kind]
		switch suricataExtensions[kind] {
		case "server_name":
			f[fmt.Sprintf("quic.extensions[%d].values[0]", i)] = h.Client.ServerName.Value
		case "alpn":
			f[fmt.Sprintf("quic.extensions[%d].values[0]", i)] = h.Client.ALPN[0]
		}
	}
	f["quic.ja4"] = h.Client.JA4(hello.OverQUIC)
	return records
}

func TestSuricata(t *testing.T) {
	scores := map[string][2]int{}
	seen := map[string][]*Parser{}
	for _, line := range corpora.Expected[map[string]any](t, "suricata", "l7") {
		match := line["match"].(map[string]any)
		file := line["pcap"].(string)
		if match["event_type"] != "quic" || line["count"].(float64) == 0 || strings.Contains(fmt.Sprint(match), "cyu") {
			continue // cyu is of Google's QUIC, before the standard
		}
		if seen[file] == nil {
			seen[file] = replay(t, filepath.Join(corpora.Path(t, "suricata/l7/pcap"), file))
		}
		best, hits := map[string]string{}, -1
		for _, c := range seen[file] {
			for _, fields := range suricataFields(c.Handshake()) {
				n := 0
				for key, want := range match {
					if fields[key] == want {
						n++
					}
				}
				if n > hits {
					best, hits = fields, n
				}
			}
		}
		for key, want := range match {
			if !strings.HasPrefix(key, "quic.") {
				continue
			}
			field := key
			if strings.HasSuffix(key, "name") {
				field = "name of an extension"
			} else if strings.HasSuffix(key, "values[0]") {
				field = "server name, next protocol"
			}
			n := scores[field]
			n[1]++
			if best[key] == want {
				n[0]++
			} else {
				t.Errorf("%s: %s is %q, not %q", file, key, best[key], want)
			}
			scores[field] = n
		}
	}
	for _, field := range slices.Sorted(maps.Keys(scores)) {
		t.Logf("%-28s %d of %d", field, scores[field][0], scores[field][1])
	}
}

func TestArkime(t *testing.T) {
	equal, all := 0, 0
	for _, line := range corpora.Expected[map[string]any](t, "arkime") {
		session, _ := line["tls"].(map[string]any)
		if session == nil || !strings.Contains(fmt.Sprint(line["protocol"]), "quic") {
			continue
		}
		file := line["pcap"].(string)
		found := replay(t, filepath.Join(corpora.Path(t, "arkime/pcap"), file))
		if len(found) == 0 || found[0].Handshake().Client == nil {
			t.Errorf("%s: no handshake", file)
			continue
		}
		c := found[0].Handshake().Client
		ja3, _ := c.JA3()
		got := []string{c.ServerName.Value, ja3, c.JA4(hello.OverQUIC)}
		web := line["http"].(map[string]any)
		for i, want := range []any{web["host"], session["ja3"], session["ja4"]} {
			if all++; got[i] == want.([]any)[0] {
				equal++
			} else {
				t.Errorf("%s: %s, not %v", file, got[i], want)
			}
		}
	}
	t.Logf("%d of %d: server name, JA3, JA4", equal, all)
}

func TestIPFIXProbe(t *testing.T) {
	for _, line := range corpora.Expected[map[string]any](t, "ipfixprobe") {
		if line["plugin"] != "quic" {
			continue
		}
		found := replay(t, filepath.Join(corpora.Path(t, "ipfixprobe/pcap"), line["pcap"].(string)))
		if len(found) == 0 || found[0].Handshake().Client == nil {
			t.Fatal("no handshake")
		}
		h := found[0].Handshake()
		if h.Client.ServerName.Value != line["QUIC_SNI"] || fmt.Sprint(h.Version) != line["QUIC_VERSION"] {
			t.Errorf("server name %v, version %d", h.Client.ServerName, h.Version)
		}
	}
}
