package ssh_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"net"
	"sync"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"github.com/weirnet/weir/internal/inspect/ssh"
	"github.com/weirnet/weir/internal/policy"
)

// tapped notes what is written.
type tapped struct {
	net.Conn
	mutex sync.Mutex
	sent  []byte
}

func (c *tapped) Write(b []byte) (int, error) {
	c.mutex.Lock()
	c.sent = append(c.sent, b...)
	c.mutex.Unlock()
	return c.Conn.Write(b)
}

func (c *tapped) bytes() []byte {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return append([]byte(nil), c.sent...)
}

// shake makes a handshake between peers of golang.org/x/crypto.
func shake(t *testing.T, method string, key xssh.Signer) (client, server []byte) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, s := &tapped{Conn: dialled}, &tapped{Conn: accepted}
	done := make(chan error, 1)
	go func() {
		config := &xssh.ServerConfig{NoClientAuth: true, ServerVersion: "SSH-2.0-Room with comments"}
		config.KeyExchanges = []string{method}
		config.AddHostKey(key)
		conn, _, _, err := xssh.NewServerConn(s, config)
		if err == nil {
			conn.Wait() // until the client hangs up
		}
		s.Close()
		done <- err
	}()
	conn, _, _, err := xssh.NewClientConn(c, "", &xssh.ClientConfig{
		User: "x", HostKeyCallback: xssh.FixedHostKey(key.PublicKey()), ClientVersion: "SSH-2.0-Guest",
		Config: xssh.Config{KeyExchanges: []string{method}},
	})
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	conn.Close()
	if err := <-done; err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return c.bytes(), s.bytes()
}

func TestPeers(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []any{ed, ec} {
		signer, err := xssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{
			xssh.KeyExchangeMLKEM768X25519, xssh.KeyExchangeCurve25519, xssh.KeyExchangeECDHP521,
			xssh.KeyExchangeDH14SHA256, xssh.KeyExchangeDH16SHA512,
		} {
			client, server := shake(t, method, signer)
			p := read(t, client, server, [2]int{11, 1 << 20})
			h := p.Handshake()
			if h.HostKey != policy.Is(xssh.FingerprintSHA256(signer.PublicKey())) || h.HostKeyType != signer.PublicKey().Type() {
				t.Errorf("%s: %+v %s", method, h.HostKey, h.HostKeyType)
			}
			if a := h.Algorithms.Value; a.KeyExchange != method || a.HostKey != signer.PublicKey().Type() || !a.Strict {
				t.Errorf("%s: %+v", method, a)
			}
			want := ssh.Banner{Version: "2.0", Software: "Room", Comments: "with comments"}
			if h.Banner[ssh.Server].Value != want || h.Banner[ssh.Client].Value.Software != "Guest" {
				t.Errorf("%s: %+v", method, h.Banner)
			}
			if !h.Settled() || p.Wants(0) || p.Wants(1) {
				t.Errorf("%s: not done", method)
			}
		}
	}
}
