package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/weirnet/weir/internal/inspect/tls/certificate"
)

// longestHandshake is how many bytes a server may say. crypto/tls takes chains of
// 256 KiB, and what else there is has a few.
const longestHandshake = 320 << 10

var errTooLong = errors.New("the server says more than a handshake takes")

// probe makes one.
func (p *Prober) probe(ctx context.Context, q *Question) Answer {
	chain, err := p.chain(ctx, q)
	if err != nil {
		return Answer{Outcome: outcomeOf(err)}
	}
	return Answer{Outcome: Seen, Shown: chain.Shown()}
}

// chain is what the server shows.
func (p *Prober) chain(ctx context.Context, q *Question) (certificate.Chain, error) {
	h, shake := &handshake{}, p.shakeTLS
	if q.Server.QUIC {
		shake = p.shakeQUIC
	}
	if err := h.result(shake(ctx, q, h.config(q))); err != nil {
		return nil, err
	}
	chain, err := certificate.ReadList(h.shown)
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 {
		return nil, errors.New("the server shows no certificate")
	}
	return chain, nil
}

// shakeTLS shakes hands by TLS over TCP.
func (p *Prober) shakeTLS(ctx context.Context, q *Question, config *tls.Config) error {
	dialled, closed, err := p.dial(ctx, q)
	if err != nil {
		return err
	}
	defer closed()
	defer dialled.Close()
	t := tls.Client(&limited{Conn: dialled, left: longestHandshake}, config)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	t.Close() // says goodbye
	return nil
}

// handshake is what a server shows in one.
type handshake struct {
	shown [][]byte
	// proven: it has shown that the key is its own.
	proven bool
}

// config is that of a client like the one whose connection waits, in what a server
// chooses its certificate by: the name and the protocols. All certificates are taken;
// that the server has the key is checked in any case.
func (h *handshake) config(q *Question) *tls.Config {
	c := &tls.Config{
		ServerName: q.Server.Name, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			h.shown = raw
			return nil
		},
		// It is asked behind the server's proof, and has none: a server that insists ends
		// the handshake then, and has shown all the same.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			h.proven = true
			return &tls.Certificate{}, nil
		},
	}
	if q.Server.Protocols != "" {
		c.NextProtos = strings.Split(q.Server.Protocols, "\x00")
	}
	return c
}

// result is nil where the server has shown what it has, and proven it.
func (h *handshake) result(err error) error {
	if h.proven && len(h.shown) > 0 {
		return nil
	}
	return err
}

// limited is a connection of which no more than so many bytes are read.
type limited struct {
	net.Conn
	left int
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooLong
	}
	n, err := l.Conn.Read(b[:min(len(b), l.left)])
	l.left -= n
	return n, err
}
