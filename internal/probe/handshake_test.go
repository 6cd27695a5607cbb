package probe

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// TestShown: what a server shows is what its rules are judged by, whoever it is.
func TestShown(t *testing.T) {
	root := (*issuer)(nil).issue(t, "Root CA", authority)
	middle := root.issue(t, "Middle CA", authority)
	good := middle.issue(t, "a.example", nil)
	expired := middle.issue(t, "a.example", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	alone := (*issuer)(nil).issue(t, "a.example", nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, k := range map[string]struct {
			shows tls.Certificate
			is    func(*policy.CertificateFacts) bool
		}{
			"good": {good.with(middle), func(f *policy.CertificateFacts) bool {
				return slices.Equal(f.IssuerNames, []string{"Middle CA", "Root CA"}) && len(f.AuthoritySHA256) == 1 &&
					slices.Contains(f.SubjectNames, "a.example") && f.NotAfter.After(time.Now()) && !f.SelfSigned
			}},
			"expired":     {expired.with(middle), func(f *policy.CertificateFacts) bool { return f.NotAfter.Before(time.Now()) }},
			"self-signed": {alone.with(), func(f *policy.CertificateFacts) bool { return f.SelfSigned }},
		} {
			t.Run(tls.VersionName(version)+" "+name, func(t *testing.T) {
				s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{k.shows}, MinVersion: version, MaxVersion: version})
				a := newProber(t, Config{}).ask(t, s.asked("a.example"))
				if f := a.Fact(); a.Outcome != Seen || f.State != policy.Known || !k.is(&f.Value) || a.Shown.Leaf.Subject.String() != "CN=a.example" {
					t.Errorf("%+v", a)
				}
			})
		}
	}
}

// TestAsked: the server is asked what the client asks it: by its name and protocols,
// from its address.
func TestAsked(t *testing.T) {
	a := (*issuer)(nil).issue(t, "a.example", nil).with()
	b := (*issuer)(nil).issue(t, "b.example", nil).with()
	challenge := (*issuer)(nil).issue(t, "challenge.example", nil).with()
	s := serveTLS(t, &tls.Config{
		NextProtos: []string{"h2", "challenge"},
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			switch {
			case slices.Contains(h.SupportedProtos, "challenge"):
				return &challenge, nil
			case h.ServerName == "b.example":
				return &b, nil
			case h.ServerName == "":
				return nil, errors.New("no name")
			}
			return &a, nil
		},
	})
	p := newProber(t, Config{})
	for _, k := range []struct{ name, protocols, subject string }{
		{"a.example", "", "CN=a.example"},
		{"b.example", "", "CN=b.example"},
		{"b.example", "h2\x00http/1.1", "CN=b.example"},
		{"a.example", "challenge", "CN=challenge.example"},
	} {
		q := s.asked(k.name)
		q.Server.Protocols = k.protocols
		q.Source = netip.MustParseAddr("127.0.0.7")
		if got := p.ask(t, q); got.Outcome != Seen || got.Shown.Leaf.Subject.String() != k.subject {
			t.Errorf("%+v: %+v", k, got)
		}
	}
	if got := p.ask(t, s.asked("")); got.Outcome != Broken {
		t.Errorf("without a name: %v", got.Outcome)
	}
	for i, from := range s.from {
		if want := map[bool]string{true: "127.0.0.7", false: "127.0.0.1"}[i < 4]; from.String() != want {
			t.Errorf("connection %d came from %v", i, from)
		}
	}
}

// TestClientCertificate: a server that asks for one has shown its own by then.
func TestClientCertificate(t *testing.T) {
	good := (*issuer)(nil).issue(t, "a.example", nil).with()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: version})
		if a := newProber(t, Config{}).ask(t, s.asked("a.example")); a.Outcome != Seen {
			t.Errorf("%v: %v", tls.VersionName(version), a.Outcome)
		}
	}
}

// TestWithoutKey: whose certificate it is has to be proven.
func TestWithoutKey(t *testing.T) {
	theirs, own := (*issuer)(nil).issue(t, "a.example", nil), (*issuer)(nil).issue(t, "b.example", nil)
	stolen := tls.Certificate{Certificate: [][]byte{theirs.encoded}, PrivateKey: own.key}
	for _, auth := range []tls.ClientAuthType{tls.NoClientCert, tls.RequireAnyClientCert} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{stolen}, MaxVersion: version, ClientAuth: auth})
			if a := newProber(t, Config{}).ask(t, s.asked("a.example")); a.Outcome != Broken || a.Shown != nil {
				t.Errorf("%v, %v: %v", tls.VersionName(version), auth, a.Outcome)
			}
		}
	}
}

// TestFailures: what does not show a certificate is told apart, in time.
func TestFailures(t *testing.T) {
	good := (*issuer)(nil).issue(t, "a.example", nil)
	large := good.with()
	for range 10 << 20 / len(good.encoded) {
		large.Certificate = append(large.Certificate, good.encoded)
	}
	many := good.with()
	for range 110 {
		many.Certificate = append(many.Certificate, good.encoded)
	}
	broken := good.with()
	broken.Certificate = [][]byte{bytes.Clone(good.encoded)}
	broken.Certificate[0][8] ^= 0xff
	tlsWith := func(c tls.Certificate) func(net.Conn) {
		return func(n net.Conn) {
			s := tls.Server(n, &tls.Config{Certificates: []tls.Certificate{c}})
			if s.Handshake() == nil {
				io.Copy(io.Discard, s)
			}
		}
	}
	for name, k := range map[string]struct {
		handle  func(net.Conn)
		outcome Outcome
		cause   policy.Cause
	}{
		"silent":                  {func(c net.Conn) { io.Copy(io.Discard, c) }, TimedOut, policy.Limit},
		"drips":                   {func(c net.Conn) { drip(c) }, TimedOut, policy.Limit},
		"closes":                  {func(net.Conn) {}, Broken, policy.NotSeen},
		"speaks HTTP":             {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, Broken, policy.NotSeen},
		"10 MB of a chain":        {tlsWith(large), TooLong, policy.Limit},
		"111 certificates":        {tlsWith(many), Malformed, policy.Malformed},
		"broken":                  {tlsWith(broken), Malformed, policy.Malformed},
		"messages without an end": {unending, TooLong, policy.Limit},
		"alert":                   {func(c net.Conn) { c.Write([]byte{21, 3, 3, 0, 2, 2, 40}) }, Broken, policy.NotSeen},
		"records of a byte":       {flood, Broken, policy.NotSeen},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, k.handle)
			p := newProber(t, Config{Timeout: time.Second})
			began := time.Now()
			a := p.ask(t, s.asked("a.example"))
			f := a.Fact()
			if a.Outcome != k.outcome || f.State != policy.Unobtainable || f.Cause != k.cause || time.Since(began) > 10*time.Second {
				t.Errorf("%v by %v after %v", a.Outcome, f.Cause, time.Since(began))
			}
			if n := p.Stats().Probes[k.outcome.String()]; n != 1 {
				t.Errorf("counted %d times", n)
			}
		})
	}
}

// helloOf12 is the ServerHello of a server that knows TLS 1.2.
func helloOf12() []byte {
	hello := append([]byte{2, 0, 0, 38, 3, 3}, make([]byte, 32)...)
	hello = append(hello, 0, 0xc0, 0x2b, 0)
	return append([]byte{22, 3, 3, 0, byte(len(hello))}, hello...)
}

// drip says a byte now and then.
func drip(c net.Conn) {
	for _, b := range append([]byte{22, 3, 3, 0x3f, 0xff, 2, 0, 0x3f, 0xfb}, make([]byte, 1000)...) {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// unending is a chain as long as one may be, in records so short that it takes more.
func unending(c net.Conn) {
	const size = 16
	c.Write(helloOf12())
	c.Write([]byte{22, 3, 3, 0, 4, 11, 3, 0xff, 0xff})
	records := bytes.Repeat(append([]byte{22, 3, 3, 0, size}, make([]byte, size)...), 100)
	for {
		if _, err := c.Write(records); err != nil {
			return
		}
	}
}

// flood sends warnings for ever.
func flood(c net.Conn) {
	for {
		if _, err := c.Write([]byte{21, 3, 3, 0, 2, 1, 90}); err != nil {
			return
		}
	}
}

// TestUnreachable: where there is nobody.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	p := newProber(t, Config{Timeout: time.Second})
	nobody := &server{at: at}
	if a := p.ask(t, nobody.asked("a.example")); a.Outcome != Refused {
		t.Errorf("nobody listens: %v", a.Outcome)
	}
	q := nobody.asked("b.example")
	q.Source = netip.MustParseAddr("192.0.2.77") // nobody's here
	if a := p.ask(t, q); a.Outcome != Unreachable {
		t.Errorf("from another's address: %v", a.Outcome)
	}
	q = nobody.asked("c.example")
	q.Device = "nosuch0"
	if a := p.ask(t, q); a.Outcome != Failed {
		t.Errorf("by another device: %v", a.Outcome)
	}
}

// TestOwn: the cookie of each socket is told before it connects, and again that it is
// closed.
func TestOwn(t *testing.T) {
	good := (*issuer)(nil).issue(t, "a.example", nil).with()
	s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{good}})
	var open, told atomic.Int32
	var refuse atomic.Bool
	p := newProber(t, Config{Own: func(cookie uint64) (func(), error) {
		if cookie == 0 {
			t.Error("there is no cookie")
		}
		if refuse.Load() {
			return nil, errors.New("there is no room")
		}
		told.Add(1)
		open.Add(1)
		return func() { open.Add(-1) }, nil
	}})
	for i, k := range []struct {
		at   netip.AddrPort
		want Outcome
	}{{s.at, Seen}, {netip.MustParseAddrPort("127.0.0.1:1"), Refused}} {
		if a := p.ask(t, (&server{at: k.at}).asked("a.example")); a.Outcome != k.want || int(told.Load()) != i+1 || open.Load() != 0 {
			t.Errorf("%v: %d were told, %d are open", a.Outcome, told.Load(), open.Load())
		}
	}
	refuse.Store(true)
	if a := p.ask(t, s.asked("b.example")); a.Outcome != Failed || s.taken.Load() != 1 {
		t.Errorf("where it cannot be told: %v, %d connections", a.Outcome, s.taken.Load())
	}
}
