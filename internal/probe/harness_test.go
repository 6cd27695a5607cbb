package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirnet/weir/internal/inspect/tls/certificate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issuer signs certificates; nil signs by itself.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	encoded     []byte
}

// issue makes a certificate as change has it.
func (a *issuer) issue(t testing.TB, name string, change func(*x509.Certificate)) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if a != nil {
		parent, signer = a.certificate, a.key
	}
	made := &issuer{key: key}
	if made.encoded, err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer); err != nil {
		t.Fatal(err)
	}
	if made.certificate, err = x509.ParseCertificate(made.encoded); err != nil {
		t.Fatal(err)
	}
	return made
}

func authority(c *x509.Certificate) { c.IsCA = true }

// with is the certificate with others behind it.
func (a *issuer) with(others ...*issuer) tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{a.encoded}, PrivateKey: a.key}
	for _, o := range others {
		c.Certificate = append(c.Certificate, o.encoded)
	}
	return c
}

// server is one on loopback. It counts connections, and remembers from where they came.
type server struct {
	at      netip.AddrPort
	taken   atomic.Int32
	mu      sync.Mutex
	from    []netip.Addr
	running sync.WaitGroup
}

// serve has each connection handled.
func serve(t testing.TB, handle func(net.Conn)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{at: l.Addr().(*net.TCPAddr).AddrPort()}
	quit := make(chan struct{})
	s.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.taken.Add(1)
			s.mu.Lock()
			s.from = append(s.from, c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap())
			s.mu.Unlock()
			s.running.Go(func() {
				over := make(chan struct{})
				s.running.Go(func() {
					select {
					case <-quit:
					case <-over:
					}
					c.Close()
				})
				handle(c)
				close(over)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		close(quit)
		s.running.Wait()
	})
	return s
}

// serveTLS shakes hands, and reads until the client goes.
func serveTLS(t testing.TB, c *tls.Config) *server {
	return serve(t, func(conn net.Conn) {
		s := tls.Server(conn, c)
		if s.Handshake() == nil {
			io.Copy(io.Discard, s)
		}
	})
}

func (s *server) asked(name string) *Question {
	return &Question{Server: certificate.Server{Address: s.at, Name: name}, Source: netip.MustParseAddr("127.0.0.1")}
}

func newProber(t testing.TB, c Config) *Prober {
	p := New(c)
	t.Cleanup(p.Close)
	return p
}

// ask waits for the answer.
func (p *Prober) ask(t testing.TB, q *Question) Answer {
	t.Helper()
	answers := make(chan Answer, 1)
	if a, now := p.Ask(q, func(a Answer) { answers <- a }); now {
		return a
	}
	select {
	case a := <-answers:
		return a
	case <-time.After(20 * time.Second):
		t.Fatal("there is no answer")
		return Answer{}
	}
}
