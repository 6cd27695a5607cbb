package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// tlsTalks are TLS and QUIC handshakes. In TLS 1.3 and QUIC the protocol that was
// agreed on, and the certificate, are encrypted.
var tlsTalks = []talk{
	{
		name: "openssl 1.2", transport: "tcp", port: 8011, protocol: "tls", run: opensslTLS("-tls1_2"),
		exchanges: []said{handshake("1.2", "block", "old-tls",
			with("tls.server.subject", "CN=www.example.com"), with("tls.server.issuer", "CN=www.example.com"),
			with("tls.server.hash.sha256", present), with("tls.server.not_before", present), with("tls.server.not_after", present),
			with("weir.tls.certificate.source", "wire"))},
		action: "block", rule: "old-tls",
	},
	{
		name: "openssl 1.3", transport: "tcp", port: 8012, protocol: "tls", run: opensslTLS("-tls1_3"),
		exchanges: []said{handshake("1.3", "allow", "secure")},
		action:    "allow", rule: "secure",
	},
	{
		// Its hello has a share against quantum computers and takes two segments.
		name: "Go", transport: "tcp", port: 8013, protocol: "tls", run: goTLS,
		exchanges: []said{handshake("1.3", "allow", "secure")},
		action:    "allow", rule: "secure",
	},
	{
		name: "quic-go", transport: "udp", port: 8014, protocol: "quic", run: goQUIC,
		exchanges: []said{handshake("1.3", "allow", "secure", with("network.protocol.name", "quic"), with("network.protocol.version", "1"))},
		action:    "allow", rule: "secure",
	},
}

func handshake(version, action, rule string, changes ...change) said {
	s := said{action: action, rule: rule, attributes: map[string]any{
		"event": "weir.tls.handshake", "network.protocol.name": "tls", "network.protocol.version": version,
		"tls.protocol.name": "tls", "tls.protocol.version": version, "tls.cipher": present, "tls.established": true,
		"tls.resumed": false, "tls.client.ja3": present, "weir.tls.client.ja4": present, "weir.tls.server_name": "www.example.com",
	}}
	for _, c := range changes {
		c(s.attributes)
	}
	return s
}

// certificate is one for www.example.com that signs itself.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "www.example.com"}, DNSNames: []string{"www.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// certificateFile is a certificate with its key as openssl reads them.
func certificateFile(t *testing.T) string {
	t.Helper()
	c := certificate(t)
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	path := filepath.Join(t.TempDir(), "server.pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func opensslTLS(version string) func(*testing.T, passage, netip.AddrPort) {
	return func(t *testing.T, p passage, at netip.AddrPort) {
		openssl := tool(t, "openssl")
		// -naccept 1: it ends after its connection, so that nobody tries whether it
		// listens.
		p.to.spawn(t, p.to.command(t, openssl, "s_server", "-accept", at.String(), "-cert", certificateFile(t), "-naccept", "1", "-quiet", "-www"))
		p.to.awaitListening(t, at)
		client := p.from.command(t, openssl, "s_client", "-connect", at.String(), "-servername", "www.example.com", version, "-quiet")
		client.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
		var out strings.Builder
		var err error
		client.Stdout, client.Stderr = &out, &out
		p.from.do(func() { err = client.Start() })
		if err == nil {
			err = client.Wait()
		}
		if !strings.Contains(out.String(), "HTTP/1.0 200 ok") {
			t.Fatalf("openssl s_client says %s, %v", out.String(), err)
		}
	}
}

// awaitListening waits until a program listens, without a connection to it.
func (h *host) awaitListening(t *testing.T, at netip.AddrPort) {
	t.Helper()
	await(t, fmt.Sprintf("a listener at %v", at), func() bool { return h.isListening(t, at) })
}

func (h *host) isListening(t *testing.T, at netip.AddrPort) bool {
	t.Helper()
	found := false
	h.run(func() {
		for _, name := range []string{"tcp", "tcp6"} {
			table, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err != nil {
				t.Error(err)
				return
			}
			for line := range strings.Lines(string(table)) {
				// sl local_address rem_address st …; 0A is TCP_LISTEN
				fields := strings.Fields(line)
				found = found || len(fields) > 3 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", at.Port()))
			}
		}
	})
	return found
}

func goTLS(t *testing.T, p passage, at netip.AddrPort) {
	l := tls.NewListener(p.to.listenTCP(t, at), &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"h2"}})
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(c, c)
		c.Close()
	}()
	c := tls.Client(p.from.dial(t, at), &tls.Config{ServerName: "www.example.com", InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func goQUIC(t *testing.T, p passage, at netip.AddrPort) {
	var server, client *net.UDPConn
	var err error
	p.to.run(func() { server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) })
	if err != nil {
		t.Fatal(err)
	}
	unspecified := netip.IPv6Unspecified()
	if at.Addr().Is4() {
		unspecified = netip.IPv4Unspecified()
	}
	p.from.run(func() {
		client, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(unspecified, 0)))
	})
	if err != nil {
		t.Fatal(err)
	}
	serving, calling := &quic.Transport{Conn: server}, &quic.Transport{Conn: client}
	t.Cleanup(func() { calling.Close(); serving.Close(); client.Close(); server.Close() })
	l, err := serving.Listen(&tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"test"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c, err := l.Accept(context.Background())
		if err != nil {
			return
		}
		s, err := c.AcceptStream(context.Background())
		if err != nil {
			return
		}
		io.Copy(s, s)
		s.Close()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := calling.Dial(ctx, net.UDPAddrFromAddrPort(at), &tls.Config{ServerName: "www.example.com", InsecureSkipVerify: true, NextProtos: []string{"test"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(s, "hello")
	s.Close()
	if got, err := io.ReadAll(s); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	c.CloseWithError(0, "")
}
