package inspector_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/inspect/tls/certificate"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

const byIssuer = `
mode: prevent
rules:
  - {name: known, action: allow, layer7: {tls: {server_names: good.example, certificate: {issuer_names: Good CA}}}}`

func asking(c *inspector.Config) { c.Asks = true }

// answer gives the answer to a connection's question.
func (w *world) answer(id uint64, fact policy.Fact[policy.CertificateFacts]) {
	w.now = w.now.Add(time.Millisecond)
	a := &inspector.Certificate{Fact: fact}
	if fact.State == policy.Known {
		a.Leaf, a.Source = &certificate.Certificate{}, telemetry.CertificateFromProbe
	}
	w.Certificate(id, a, w.now)
	w.take()
}

func issued(by string) policy.Fact[policy.CertificateFacts] {
	return policy.Is(policy.CertificateFacts{IssuerNames: []string{by}, NotAfter: start.Add(time.Hour)})
}

// TestInquiry: the ClientHello waits for the answer, the server's for the version.
func TestInquiry(t *testing.T) {
	turns := shake(t, "good.example", tls.VersionTLS13)
	for name, k := range map[string]struct {
		answer          policy.Fact[policy.CertificateFacts]
		passes          bool // the hello
		answered, after string
	}{
		"good":     {issued("Good CA"), true, "pending", "allow rule known"},
		"bad":      {issued("Bad CA"), false, "block default", "block default"},
		"not seen": {policy.Lost[policy.CertificateFacts](policy.NotSeen), false, "block default", "block default"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, byIssuer, asking)
			c := w.open(443)
			c.client(turns[0].text)
			q, ok := w.asked[c.c.ID]
			want := certificate.Server{Address: netip.AddrPortFrom(hostB, 443), Name: "good.example"}
			if !ok || q.Server != want || q.Source != hostA || q.Interface != "" {
				t.Fatalf("the question is %+v", q)
			}
			if until, how := w.Judged(c.c.ID, 0); how != inspector.Part || until != 1001 {
				t.Errorf("before the answer the client's bytes pass up to %d (%d)", until, how)
			}
			w.answer(c.c.ID, k.answer)
			w.expect("verdict", c.verdict(), k.answered)
			if until, how := w.Judged(c.c.ID, 0); (how == inspector.Part && until == c.next[0]) != k.passes || how == inspector.All {
				t.Errorf("behind the answer the client's bytes pass up to %d (%d), of %d", until, how, c.next[0])
			}
			if until, how := w.Judged(c.c.ID, 1); k.passes && (how != inspector.Part || until != 5001) {
				t.Errorf("the server's bytes pass up to %d (%d)", until, how)
			}
			c.turns(turns[1:])
			w.expect("verdict", c.verdict(), k.after)
			w.answer(c.c.ID, issued("Good CA")) // nobody asked again
			w.expect("verdict", c.verdict(), k.after)
			c.close()
			if source := w.said[0].TLS.CertificateSource; (source == telemetry.CertificateFromProbe) != (k.answer.State == policy.Known) {
				t.Errorf("the record has it from %v", source)
			}
		})
	}
}

// TestInquiryElsewhere: the same address in another network is another server's.
func TestInquiryElsewhere(t *testing.T) {
	linkLocal := netip.MustParseAddr("fe80::1")
	servers := map[certificate.Server]string{}
	for name, to := range map[string]func(*inspector.Connection){
		"":                 nil,
		"VLAN 7":           func(c *inspector.Connection) { c.Tuple.Zone.Outer = 7 },
		"VLAN 8":           func(c *inspector.Connection) { c.Tuple.Zone.Outer = 8 },
		"link-local, eth0": func(c *inspector.Connection) { c.Tuple.Destination = linkLocal },
		"link-local, eth1": func(c *inspector.Connection) { c.Tuple.Destination, c.Interface = linkLocal, "eth1" },
	} {
		w := newWorld(t, byIssuer, asking)
		c := w.connect(443, to)
		c.segment(0, packet.SYN, "")
		c.segment(1, packet.SYN|packet.ACK, "")
		c.segment(0, packet.ACK, "")
		c.client(shake(t, "good.example", tls.VersionTLS13)[0].text)
		q, ok := w.asked[c.c.ID]
		if same, there := servers[q.Server]; !ok || there {
			t.Errorf("%q: the question is %+v, as that of %q", name, q, same)
		}
		servers[q.Server] = name
	}
}

// TestNoInquiry: nobody is asked about connections of others, within others, or where
// nothing is enforced.
func TestNoInquiry(t *testing.T) {
	turns := shake(t, "good.example", tls.VersionTLS13)
	other := shake(t, "other.example", tls.VersionTLS13)
	old := shake(t, "good.example", tls.VersionTLS12)
	for name, k := range map[string]struct {
		policy string
		config func(*inspector.Config)
		change func(*inspector.Connection)
		before string
		turns  []turn
	}{
		"nobody answers": {byIssuer, nil, nil, "", turns},
		"detect":         {strings.Replace(byIssuer, "prevent", "detect", 1), asking, nil, "", turns},
		"export is off":  {byIssuer + "\nsafeguards: {export: false}", asking, nil, "", turns},
		"inbound":        {byIssuer, asking, func(c *inspector.Connection) { c.Direction = packet.Inbound }, "", turns},
		"forwarded":      {byIssuer, asking, func(c *inspector.Connection) { c.Direction = packet.Forwarded }, "", turns},
		"another name":   {byIssuer, asking, nil, "", other},
		"TLS 1.2":        {byIssuer, asking, nil, "", old},
		"behind PROXY":   {byIssuer, asking, nil, "PROXY UNKNOWN\r\n", turns},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, k.policy, k.config)
			c := w.connect(443, k.change)
			c.segment(0, packet.SYN, "")
			c.segment(1, packet.SYN|packet.ACK, "")
			if k.before != "" {
				c.client(k.before)
			}
			c.turns(k.turns).close()
			if len(w.asked) > 0 {
				t.Errorf("%+v", w.asked)
			}
			if v := c.verdict(); v != "block default" {
				t.Errorf("verdict %s", v)
			}
		})
	}
}

// TestGivenUp: who waits too long is answered as on_error says.
func TestGivenUp(t *testing.T) {
	const block = `
mode: prevent
default_action: allow
on_error: {limit: block, not_seen: allow}
rules:
  - {name: bad, action: block, layer7: {tls: {certificate: {issuer_names: Bad CA}}}}`
	turns := shake(t, "good.example", tls.VersionTLS13)
	w := newWorld(t, block, asking)
	c := w.open(443)
	c.client(turns[0].text)
	w.GiveUp(c.c.ID, policy.Limit, w.now.Add(time.Second))
	w.take()
	w.expect("verdict", c.verdict(), "block error.limit bad")
	w.answer(c.c.ID, issued("Good CA")) // it comes too late
	w.expect("verdict", c.verdict(), "block error.limit bad")
	w.expect("record", w.briefs(), "1 tls good.example   | block error.limit bad")
}

// TestOtherPolicy: an answer is judged by the policy that is in force by then.
func TestOtherPolicy(t *testing.T) {
	turns := shake(t, "good.example", tls.VersionTLS13)
	w := newWorld(t, byIssuer, asking)
	c := w.open(443)
	c.client(turns[0].text)
	w.apply(strings.Replace(byIssuer, "Good CA", "Bad CA", 1))
	w.answer(c.c.ID, issued("Good CA"))
	w.expect("verdict", c.verdict(), "block default")
}

// helloWithECH is a ClientHello that hides a name behind another.
func helloWithECH(t *testing.T, outer string) string {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// An ECHConfig (RFC 9849 section 4): X25519, HKDF-SHA256, AES-128-GCM.
	config := append([]byte{7, 0, 0x20, 0, 32}, key.PublicKey().Bytes()...)
	config = append(config, 0, 4, 0, 1, 0, 1, 32, byte(len(outer)))
	config = append(append(config, outer...), 0, 0)
	config = append([]byte{0xfe, 0x0d, 0, byte(len(config))}, config...)
	a, b := net.Pipe()
	defer b.Close()
	defer a.Close()
	go tls.Client(a, &tls.Config{
		ServerName: "inner.example", MinVersion: tls.VersionTLS13,
		EncryptedClientHelloConfigList: append([]byte{0, byte(len(config))}, config...),
	}).Handshake()
	header := make([]byte, 5)
	if _, err := io.ReadFull(b, header); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(header[3])<<8|int(header[4]))
	if _, err := io.ReadFull(b, body); err != nil {
		t.Fatal(err)
	}
	return string(header) + string(body)
}

// TestInquiryECH: the server is asked for the outer name, unless the rule is about hellos
// without another.
func TestInquiryECH(t *testing.T) {
	said := helloWithECH(t, "good.example")
	w := newWorld(t, byIssuer, asking)
	c := w.open(443)
	c.client(said)
	if q, ok := w.asked[c.c.ID]; !ok || q.Server.Name != "good.example" {
		t.Errorf("%+v", q)
	}
	w = newWorld(t, strings.Replace(byIssuer, "server_names: good.example", "server_names: good.example, ech: false", 1), asking)
	c = w.open(443)
	c.client(said)
	if len(w.asked) > 0 || c.verdict() != "block default" {
		t.Errorf("%+v, %s", w.asked, c.verdict())
	}
}
