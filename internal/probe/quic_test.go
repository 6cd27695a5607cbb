package probe

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weirnet/weir/internal/policy"
)

// serveQUIC shakes hands with whoever comes.
func serveQUIC(t testing.TB, c *tls.Config) *server {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IP{127, 0, 0, 1}})
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: conn}
	l, err := transport.Listen(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{at: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	s.running.Go(func() {
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			s.taken.Add(1)
			s.mu.Lock()
			s.from = append(s.from, c.RemoteAddr().(*net.UDPAddr).AddrPort().Addr().Unmap())
			s.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		l.Close()
		transport.Close()
		conn.Close()
		s.running.Wait()
	})
	return s
}

// overQUIC is the question of a client of QUIC.
func (s *server) overQUIC(name string) *Question {
	q := s.asked(name)
	q.Server.QUIC, q.Server.Protocols = true, "h3"
	q.Source = netip.MustParseAddr("127.0.0.9")
	return q
}

func TestQUIC(t *testing.T) {
	root := (*issuer)(nil).issue(t, "Root CA", authority)
	good, alone := root.issue(t, "a.example", nil), (*issuer)(nil).issue(t, "b.example", nil)
	stolen := tls.Certificate{Certificate: [][]byte{good.encoded}, PrivateKey: alone.key}
	shown := map[string]tls.Certificate{"a.example": good.with(), "b.example": alone.with(), "c.example": stolen}
	s := serveQUIC(t, &tls.Config{
		NextProtos: []string{"h3"},
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			c := shown[h.ServerName]
			return &c, nil
		},
	})
	var open atomic.Int32
	p := newProber(t, Config{Own: func(uint64) (func(), error) {
		open.Add(1)
		return func() { open.Add(-1) }, nil
	}})
	a, b := p.ask(t, s.overQUIC("a.example")), p.ask(t, s.overQUIC("b.example"))
	if a.Outcome != Seen || a.Shown.Facts.SelfSigned || a.Shown.Facts.IssuerNames[0] != "Root CA" {
		t.Errorf("%+v", a)
	}
	if b.Outcome != Seen || !b.Shown.Facts.SelfSigned {
		t.Errorf("%+v", b)
	}
	if c := p.ask(t, s.overQUIC("c.example")); c.Outcome != Broken || c.Shown != nil {
		t.Errorf("another's certificate: %v", c.Outcome)
	}
	s.mu.Lock()
	for _, from := range s.from {
		if from.String() != "127.0.0.9" {
			t.Errorf("it came from %v", from)
		}
	}
	s.mu.Unlock()
	// What is asked by TCP is another question.
	if tcp := p.ask(t, s.asked("a.example")); tcp.Outcome != Refused {
		t.Errorf("by TCP: %v", tcp.Outcome)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d sockets are open", n)
	}
}

// TestQUICFailures: who does not answer, or says too much, is given up in time.
func TestQUICFailures(t *testing.T) {
	good := (*issuer)(nil).issue(t, "a.example", nil)
	large := good.with()
	for range 400 << 10 / len(good.encoded) {
		large.Certificate = append(large.Certificate, good.encoded)
	}
	p := newProber(t, Config{Timeout: 500 * time.Millisecond})
	s := serveQUIC(t, &tls.Config{NextProtos: []string{"h3"}, Certificates: []tls.Certificate{large}})
	if a := p.ask(t, s.overQUIC("a.example")); a.Outcome == Seen {
		t.Errorf("400 KiB of a chain: %v", a.Outcome)
	}
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IP{127, 0, 0, 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	nobody := &server{at: silent.LocalAddr().(*net.UDPAddr).AddrPort()}
	began := time.Now()
	a := p.ask(t, nobody.overQUIC("a.example"))
	if f := a.Fact(); a.Outcome != TimedOut || f.Cause != policy.Limit || time.Since(began) > 10*time.Second {
		t.Errorf("silence: %v after %v", a.Outcome, time.Since(began))
	}
}
