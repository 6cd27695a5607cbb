package inspector_test

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
	"sync"
	"testing"
	"time"
)

// turn is what one end wrote at once.
type turn struct {
	end  int
	text string
}

// tap records what goes through a connection, in the order in which it is written.
type tap struct {
	net.Conn
	end   int
	mu    *sync.Mutex
	turns *[]turn
}

func (t *tap) Write(b []byte) (int, error) {
	t.mu.Lock()
	*t.turns = append(*t.turns, turn{t.end, string(b)})
	t.mu.Unlock()
	return t.Conn.Write(b)
}

// shake lets Go's client and server of TLS shake hands and exchange a line each.
func shake(t testing.TB, name string, version uint16) []turn {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: start.Add(-time.Hour), NotAfter: start.Add(time.Hour),
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var turns []turn
	var mu sync.Mutex
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := tls.Server(&tap{b, 1, &mu, &turns}, &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{encoded}, PrivateKey: key}},
			MaxVersion:   version, SessionTicketsDisabled: true,
		})
		line := make([]byte, 5)
		io.ReadFull(s, line)
		s.Write([]byte("pong\n"))
		s.Close()
	}()
	c := tls.Client(&tap{a, 0, &mu, &turns}, &tls.Config{ServerName: name, InsecureSkipVerify: true, MaxVersion: version})
	if _, err := c.Write([]byte("ping\n")); err != nil {
		t.Fatal(err)
	}
	io.ReadAll(c)
	a.Close()
	<-done
	return turns
}

func (k *talk) turns(turns []turn) *talk {
	for _, t := range turns {
		k.say(t.end, t.text)
	}
	return k
}
