package tls

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/inspect/tls/certificate"
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// Recorded traffic with the answers of other tools. The folder is not part of the
// project; without it these tests are skipped.
const corpora = "../../../../shared/corpora"

// conversation is a TCP connection of a capture. Segments are put in order, and
// those that never came end the stream.
type conversation struct {
	client, server netip.AddrPort
	next           [2]uint32
	known          [2]bool
	early          [2]map[uint32][]byte
	held           [2][]byte
	begun          [2]bool
	parser         Parser
}

func (c *conversation) segment(end End, seq uint32, flags uint8, data []byte) {
	if flags&packet.SYN != 0 {
		if !c.begun[end] {
			c.next[end], c.known[end] = seq+1, true
		}
		seq++
	}
	if len(data) == 0 {
		return
	}
	if !c.known[end] {
		c.next[end], c.known[end] = seq, true
	}
	if c.early[end] == nil {
		c.early[end] = map[uint32][]byte{}
	}
	if len(c.early[end][seq]) < len(data) {
		c.early[end][seq] = slices.Clone(data)
	}
	for again := true; again; {
		again = false
		for at, data := range c.early[end] {
			behind := int32(c.next[end] - at)
			if behind < 0 {
				continue
			}
			delete(c.early[end], at)
			if int(behind) < len(data) {
				c.give(end, data[behind:])
				c.next[end] += uint32(len(data)) - uint32(behind)
				again = true
			}
		}
	}
}

// give hands data to the parser. TLS may begin within a connection, after STARTTLS
// or behind a proxy: that is for others to know, and taken here from the bytes.
func (c *conversation) give(end End, data []byte) {
	if !c.begun[end] {
		isTLS := Detect(data) == Yes && (data[0] != recordAlert || end == Server)
		if end == Server {
			isTLS = len(data) > 1 && data[0] >= recordAlert && data[0] <= recordHandshake && data[1] == 3
		}
		if !isTLS {
			return
		}
		c.begun[end] = true
	}
	c.held[end] = append(c.held[end], data...)
	n := c.parser.Read(end, c.held[end])
	c.held[end] = append([]byte(nil), c.held[end][n:]...)
}

var conversations = map[string][]*conversation{}

// replay reads the TLS connections of a capture.
func replay(t *testing.T, path string) (all []*conversation) {
	t.Helper()
	if known, ok := conversations[path]; ok {
		return known
	}
	r, err := capture.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	byEnds := map[[2]netip.AddrPort]*conversation{}
	pieces := packet.NewFragments(1024)
	var p packet.Packet
	for {
		f, err := r.Next()
		if err != nil {
			break
		}
		if pieces.Follow(&p, p.Decode(&f.Frame), 0, f.Time) != packet.Decoded || p.Protocol != packet.TCP {
			continue
		}
		from, to := netip.AddrPortFrom(p.Source, p.SourcePort), netip.AddrPortFrom(p.Destination, p.DestinationPort)
		end := Client
		c := byEnds[[2]netip.AddrPort{from, to}]
		if c == nil {
			if c = byEnds[[2]netip.AddrPort{to, from}]; c != nil {
				end = Server
			}
		}
		payload := p.CapturedPayload(f.Data)
		opens := p.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN
		if c == nil || opens && c.known[Client] && c.next[Client] != p.Seq+1 {
			end = Client
			// A capture that begins within a connection may show the server first.
			if !opens && (p.TCPFlags&packet.SYN != 0 || len(payload) > 0 && Detect(payload) != Yes) {
				from, to, end = to, from, Server
			}
			c = &conversation{client: from, server: to}
			byEnds[[2]netip.AddrPort{from, to}] = c
			all = append(all, c)
		}
		c.segment(end, p.Seq, p.TCPFlags, payload)
	}
	all = slices.DeleteFunc(all, func(c *conversation) bool { return !c.begun[Client] && !c.begun[Server] })
	conversations[path] = all
	return all
}

func readLines(t *testing.T, folder string) (all []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(corpora, folder, "expected.jsonl"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("%s is missing: recorded traffic is not part of the project", filepath.Join(corpora, folder))
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// score counts by field what is equal, and the others by class.
type score struct {
	t      *testing.T
	fields map[string][2]int
	misses map[string]int
}

func newScore(t *testing.T) *score {
	return &score{t: t, fields: map[string][2]int{}, misses: map[string]int{}}
}

// compare counts a field of a file. Whatever is not equal must be of a class that
// explained knows.
func (s *score) compare(file, field string, got, want any, explained map[string]string) {
	n := s.fields[field]
	n[1]++
	if fmt.Sprint(got) == fmt.Sprint(want) {
		n[0]++
	} else if class := explained[file+" "+field]; class != "" {
		s.misses[class]++
	} else if class := explained[file]; class != "" {
		s.misses[class]++
	} else {
		s.t.Errorf("%s: %s is %v, not %v", file, field, got, want)
	}
	s.fields[field] = n
}

func (s *score) report() {
	for _, field := range slices.Sorted(func(yield func(string) bool) {
		for f := range s.fields {
			if !yield(f) {
				return
			}
		}
	}) {
		s.t.Logf("%-28s %d of %d", field, s.fields[field][0], s.fields[field][1])
	}
	for class, n := range s.misses {
		s.t.Logf("not equal, %d: %s", n, class)
	}
}

// suricataFields are a handshake in Suricata's words.
func suricataFields(h *Handshake) map[string]string {
	f := map[string]string{}
	set := func(key string, value any) { f[key] = fmt.Sprint(value) }
	c := h.Client
	if c == nil {
		return f
	}
	if c.ServerName.State == policy.Known {
		set("tls.sni", c.ServerName.Value)
	}
	for i, name := range c.ALPN {
		set(fmt.Sprintf("tls.client_alpns[%d]", i), name)
	}
	hash, text := c.JA3()
	set("tls.ja3.hash", hash)
	set("tls.ja3.string", text)
	set("tls.ja4", c.JA4(hello.OverTCP))
	set("tls.client_handshake.ciphers", c.Ciphers)
	set("tls.client_handshake.exts", c.Extensions)
	set("tls.client_handshake.sig_algs", c.SignatureAlgorithms)
	set("tls.client_handshake.version", suricataVersion(c.Offered()))
	set("tls.version", suricataVersion(c.Version))
	if s := h.Server; s != nil {
		set("tls.version", suricataVersion(s.Version))
		if s.LegacyVersion == hello.TLS13 {
			set("tls.version", "TLS 1.3 draft-<16")
		}
		set("tls.server_handshake.version", suricataVersion(s.Version))
		set("tls.server_handshake.cipher", s.Cipher)
		set("tls.server_handshake.exts", s.Extensions)
		set("tls.server_alpns[0]", s.ALPN)
		hash, text := s.JA3S()
		set("tls.ja3s.hash", hash)
		set("tls.ja3s.string", text)
		set("tls.session_resumed", h.Resumed)
	}
	if len(h.Chain) > 0 {
		leaf := h.Chain[0]
		set("tls.subject", leaf.Subject.OneLine())
		set("tls.issuerdn", leaf.Issuer.OneLine())
		set("tls.notbefore", leaf.NotBefore.Format("2006-01-02T15:04:05"))
		set("tls.notafter", leaf.NotAfter.Format("2006-01-02T15:04:05"))
		set("tls.serial", withColons(leaf.Serial, strings.ToUpper))
		set("tls.fingerprint", withColons(leaf.SHA1[:], strings.ToLower))
		for i, name := range leaf.Names {
			set(fmt.Sprintf("tls.subjectaltname[%d]", i), name)
		}
	}
	return f
}

func withColons(b []byte, form func(string) string) string {
	var parts []string
	for _, v := range b {
		parts = append(parts, form(hex.EncodeToString([]byte{v})))
	}
	return strings.Join(parts, ":")
}

func suricataVersion(v uint16) string {
	switch {
	case v == hello.SSL30:
		return "SSLv3"
	case v == hello.TLS10:
		return "TLSv1"
	case v>>8 == 0x7f && v&0xff < 16:
		return "TLS 1.3 draft-<16"
	case v>>8 == 0x7f:
		return fmt.Sprintf("TLS 1.3 draft-%d", v&0xff)
	}
	_, number := hello.VersionName(v)
	return "TLS " + number
}

func TestSuricata(t *testing.T) {
	s := newScore(t)
	for _, line := range readLines(t, "suricata/l7") {
		match := line["match"].(map[string]any)
		if match["event_type"] != "tls" || line["count"].(float64) == 0 {
			continue
		}
		file := line["pcap"].(string)
		best, hits := map[string]string{}, -1
		for _, c := range replay(t, filepath.Join(corpora, "suricata/l7/pcap", file)) {
			fields, n := suricataFields(c.parser.Handshake()), 0
			for key, want := range match {
				if fields[key] == fmt.Sprint(want) {
					n++
				}
			}
			if n > hits {
				best, hits = fields, n
			}
		}
		for key, want := range match {
			if strings.HasPrefix(key, "tls.client.") || key == "tls.from_proto" || !strings.HasPrefix(key, "tls.") {
				continue // not of this room
			}
			field, _, _ := strings.Cut(key, "[")
			s.compare(file, field, best[key], want, suricataExplained)
		}
	}
	s.report()
}

var suricataExplained = map[string]string{
	"bug-5713-01__TLSv1-Extracted-MaliciousC2.pcap tls.ja4":   "Suricata ends the list with an underscore where there are no signature algorithms, FoxIO does not",
	"tcp-fastopen-10-syn-data-ignore__input.pcap tls.version": "two answers to one SYN, which the reassembly of this test does not sort out",
}

func TestArkime(t *testing.T) {
	s := newScore(t)
	for _, line := range readLines(t, "arkime") {
		protocols := fmt.Sprint(line["protocol"])
		if !strings.Contains(protocols, "tls") || strings.Contains(protocols, "dtls") {
			continue
		}
		file := line["pcap"].(string)
		session, _ := line["tls"].(map[string]any)
		source, _ := line["source"].(map[string]any)
		best := &conversation{}
		for _, c := range replay(t, filepath.Join(corpora, "arkime/pcap", file)) {
			if port := int(source["port"].(float64)); int(c.client.Port()) == port || int(c.server.Port()) == port {
				best = c
			}
		}
		h := best.parser.Handshake()
		one := func(field string, got string) {
			if want, ok := session[field].([]any); ok {
				s.compare(file, field, got, want[0], arkimeExplained)
			}
		}
		if h.Client != nil {
			hash, _ := h.Client.JA3()
			one("ja3", hash)
			one("ja4", h.Client.JA4(hello.OverTCP))
			if web, ok := line["http"].(map[string]any); ok && h.Client.ServerName.State == policy.Known {
				if hosts, ok := web["host"].([]any); ok {
					s.compare(file, "host", h.Client.ServerName.Value, hosts[0], arkimeExplained)
				}
			}
		} else if session["ja4"] != nil || h.Server == nil {
			s.compare(file, "session", "not seen", "seen", arkimeExplained)
		}
		if h.Server != nil {
			hash, _ := h.Server.JA3S()
			one("ja3s", hash)
			one("cipher", hello.CipherName(h.Server.Cipher))
			version := strings.NewReplacer("TLS 1.3 draft", "TLSv1.3-draft", "TLS 1.", "TLSv1.").Replace(suricataVersion(h.Server.Version))
			one("version", version)
		}
		certificates, _ := line["cert"].([]any)
		for _, one := range certificates {
			s.certificate(file, h.Chain, one.(map[string]any))
		}
	}
	s.report()
}

var arkimeExplained = map[string]string{
	"pppoe.pcap": "PPPoE, which is not decoded",
}

// certificate compares one of Arkime's, which are in no order, and in lower case.
func (s *score) certificate(file string, chain certificate.Chain, want map[string]any) {
	var c *certificate.Certificate
	for _, one := range chain {
		if withColons(one.SHA1[:], strings.ToLower) == want["hash"] {
			c = one
		}
	}
	s.compare(file, "certificate", c != nil, true, arkimeExplained)
	if c == nil {
		return
	}
	list := func(field string, got []string) {
		all, _ := want[field].([]any)
		var texts []string
		for _, v := range all {
			texts = append(texts, strings.ToLower(fmt.Sprint(v)))
		}
		var lower []string
		for _, v := range got {
			lower = append(lower, strings.ToLower(v))
		}
		slices.Sort(texts)
		slices.Sort(lower)
		s.compare(file, field, slices.Compact(lower), slices.Compact(texts), arkimeExplained)
	}
	list("subjectCN", c.Subject.CommonNames())
	list("issuerCN", c.Issuer.CommonNames())
	list("subjectON", c.Subject.Organizations())
	list("issuerON", c.Issuer.Organizations())
	if want["alt"] != nil {
		list("alt", c.Names)
	}
	s.compare(file, "serial", hex.EncodeToString(c.Serial), want["serial"], arkimeExplained)
	s.compare(file, "notBefore", c.NotBefore.UnixMilli(), int64(want["notBefore"].(float64)), arkimeExplained)
	s.compare(file, "notAfter", c.NotAfter.UnixMilli(), int64(want["notAfter"].(float64)), arkimeExplained)
}

func TestIPFIXProbe(t *testing.T) {
	s := newScore(t)
	for _, line := range readLines(t, "ipfixprobe") {
		if line["plugin"] != "tls" {
			continue
		}
		h := &Handshake{}
		for _, c := range replay(t, filepath.Join(corpora, "ipfixprobe/pcap", line["pcap"].(string))) {
			if fmt.Sprint(c.client.Port()) == line["SRC_PORT"] {
				h = c.parser.Handshake()
			}
		}
		file := line["pcap"].(string)
		if h.Client == nil {
			s.compare(file, "session", "not seen", "seen", nil)
			continue
		}
		hash, _ := h.Client.JA3()
		s.compare(file, "TLS_JA3", hash, line["TLS_JA3"], nil)
		// It counts GREASE among the extensions, which FoxIO's specification forbids.
		grease := len(h.Client.Extensions) - strings.Count(fmt.Sprint(line["TLS_EXT_TYPE"]), "|") - 1
		for _, n := range h.Client.Extensions {
			if n&0x0f0f == 0x0a0a {
				grease++
			}
		}
		ja4 := h.Client.JA4(hello.OverTCP)
		count, _ := strconv.Atoi(ja4[6:8])
		ja4 = fmt.Sprintf("%s%02d%s", ja4[:6], count+grease, ja4[8:])
		s.compare(file, "TLS_JA4", ja4, line["TLS_JA4"], nil)
		s.compare(file, "TLS_SNI", h.Client.ServerName.Value, line["TLS_SNI"], nil)
		if h.Server != nil {
			s.compare(file, "TLS_VERSION", h.Server.Version, line["TLS_VERSION"], nil)
			s.compare(file, "TLS_ALPN", h.Server.ALPN, line["TLS_ALPN"], nil)
		}
	}
	s.report()
}

// TestS2N are captures without answers: what they are named for must be found, and
// every handshake in them ended well.
func TestS2N(t *testing.T) {
	folder := filepath.Join(corpora, "s2n-tls/pcap")
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("%s is missing: recorded traffic is not part of the project", folder)
	}
	for file, want := range map[string]struct {
		connections int
		name        policy.Fact[string]
		version     string
		helloEnds   uint64 // offset, in the client's stream
	}{
		"alpns.pcap":             {12, policy.Is("localhost"), "1.2", 177},
		"fragmented_ch.pcap":     {1, policy.Is("localhost"), "1.3", 16277},
		"multiple_hellos.pcap":   {5, policy.Is("localhost"), "1.3", 263},
		"no_extensions.pcap":     {1, policy.Missing[string](), "1.2", 134},
		"tcp_fragmentation.pcap": {1, policy.Is("localhost"), "1.3", 276},
		"tls12.pcap":             {1, policy.Missing[string](), "1.2", 283},
		"tls13.pcap":             {1, policy.Missing[string](), "1.3", 283},
	} {
		all := replay(t, filepath.Join(folder, file))
		if len(all) != want.connections {
			t.Errorf("%s: %d connections", file, len(all))
			continue
		}
		for _, c := range all {
			if !c.parser.Handshake().Established {
				t.Errorf("%s: not established", file)
			}
		}
		p := &all[0].parser
		if f := p.Facts(); f.ServerName != want.name || f.Version != policy.Is(want.version) || p.Messages()[0].After != want.helloEnds {
			t.Errorf("%s: %+v, %+v", file, f, p.Messages())
		}
	}
}
