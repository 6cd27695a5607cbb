package tls

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/corpora"
	"github.com/weirnet/weir/internal/inspect/tls/certificate"
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
)

func TestArkime(t *testing.T) {
	s := newScore(t)
	for _, line := range corpora.Expected[map[string]any](t, "arkime") {
		protocols := fmt.Sprint(line["protocol"])
		if !strings.Contains(protocols, "tls") || strings.Contains(protocols, "dtls") {
			continue
		}
		file := line["pcap"].(string)
		session, _ := line["tls"].(map[string]any)
		source, _ := line["source"].(map[string]any)
		best := &conversation{}
		for _, c := range replay(t, filepath.Join(corpora.Path(t, "arkime/pcap"), file)) {
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
	for _, line := range corpora.Expected[map[string]any](t, "ipfixprobe") {
		if line["plugin"] != "tls" {
			continue
		}
		h := &Handshake{}
		for _, c := range replay(t, filepath.Join(corpora.Path(t, "ipfixprobe/pcap"), line["pcap"].(string))) {
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
	folder := corpora.Path(t, "s2n-tls", "pcap")
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
