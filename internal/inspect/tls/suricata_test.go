package tls

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/corpora"
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
)

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
	for _, line := range corpora.Expected[map[string]any](t, "suricata", "l7") {
		match := line["match"].(map[string]any)
		if match["event_type"] != "tls" || line["count"].(float64) == 0 {
			continue
		}
		file := line["pcap"].(string)
		best, hits := map[string]string{}, -1
		for _, c := range replay(t, filepath.Join(corpora.Path(t, "suricata/l7/pcap"), file)) {
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
