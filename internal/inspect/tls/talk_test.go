package tls

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	gotls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// turn is what one end wrote at once.
type turn struct {
	from End
	data []byte
}

// tap records what goes through a connection, in the order in which it is read.
type tap struct {
	net.Conn
	from  End
	mu    *sync.Mutex
	turns *[]turn
}

func (t *tap) Write(b []byte) (int, error) {
	t.mu.Lock()
	*t.turns = append(*t.turns, turn{t.from, append([]byte(nil), b...)})
	t.mu.Unlock()
	return t.Conn.Write(b)
}

// loopback is a connection's two ends. Those of net.Pipe have no buffers, and lock
// each other where both ends write at once.
func loopback(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// talk lets Go's client and server shake hands and exchange a line each.
func talk(t testing.TB, client, server *gotls.Config) []turn {
	t.Helper()
	var turns []turn
	var mu sync.Mutex
	a, b := loopback(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := gotls.Server(&tap{b, Server, &mu, &turns}, server)
		if s.HandshakeContext(ctx) != nil {
			b.Close()
			return
		}
		line := make([]byte, 5)
		io.ReadFull(s, line)
		s.Write([]byte("pong\n"))
		s.Close()
	}()
	c := gotls.Client(&tap{a, Client, &mu, &turns}, client)
	if c.HandshakeContext(ctx) == nil {
		c.Write([]byte("ping\n"))
		io.ReadAll(c)
	}
	a.Close()
	<-done
	return turns
}

// outcome is all that a parser says.
type outcome struct {
	Application policy.Fact[policy.Application]
	Facts       policy.TLSFacts
	Handshake   Handshake
	Messages    []Message
}

// read feeds a conversation in pieces: where cut is not 0, each turn is cut into
// pieces of so many bytes; with first, only after so many.
func read(p *Parser, turns []turn, piece, first int) outcome {
	var held [2][]byte
	var o outcome
	give := func(end End, data []byte) {
		held[end] = append(held[end], data...)
		n := p.Read(end, held[end])
		held[end] = append([]byte(nil), held[end][n:]...)
		o.Messages = append(o.Messages, p.Messages()...)
		p.Reset()
	}
	for _, turn := range turns {
		data := turn.data
		if first > 0 && first < len(data) {
			give(turn.from, data[:first])
			data = data[first:]
		}
		for piece > 0 && len(data) > piece {
			give(turn.from, data[:piece])
			data = data[piece:]
		}
		give(turn.from, data)
	}
	o.Application, o.Facts, o.Handshake = p.Application(), p.Facts(), *p.Handshake()
	return o
}

// authority and leaf are made once: an authority, and certificates it signed.
type identities struct {
	roots         *x509.CertPool
	server, other gotls.Certificate
	authority     *x509.Certificate
}

var identity = sync.OnceValue(func() *identities {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Root", Organization: []string{"Weir, Inc."}, Country: []string{"UK"}},
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(err)
	root, err := x509.ParseCertificate(encoded)
	must(err)
	all := &identities{roots: x509.NewCertPool(), authority: root}
	all.roots.AddCert(root)
	issue := func(name string, many int) gotls.Certificate {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
			NotBefore: template.NotBefore, NotAfter: template.NotAfter,
			DNSNames: []string{name, "*.example.net"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1).To4()},
		}
		for i := range many {
			leaf.DNSNames = append(leaf.DNSNames, "n"+big.NewInt(int64(i)).String()+".with-a-rather-long-name.example.net")
		}
		encoded, err := x509.CreateCertificate(rand.Reader, leaf, root, own.Public(), key)
		must(err)
		return gotls.Certificate{Certificate: [][]byte{encoded, root.Raw}, PrivateKey: own}
	}
	all.server, all.other = issue("www.example.net", 0), issue("big.example.net", 1000)
	return all
})
