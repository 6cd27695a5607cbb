package tls

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
)

// between copies what an end says to the other, and writes it down.
func between(from End, in, out net.Conn, mu *sync.Mutex, turns *[]turn) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := in.Read(buffer)
		if n > 0 {
			mu.Lock()
			*turns = append(*turns, turn{from, bytes.Clone(buffer[:n])})
			mu.Unlock()
			out.Write(buffer[:n])
		}
		if err != nil {
			out.(*net.TCPConn).CloseWrite()
			return
		}
	}
}

// openssl lets openssl's server and client talk on loopback; the client is given
// what to say.
func openssl(t *testing.T, serverArgs, clientArgs, say string, sessions int) (all [][]turn) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	folder := t.TempDir()
	writeKey(t, filepath.Join(folder, "key.pem"))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	server := exec.CommandContext(ctx, program, append([]string{
		"s_server", "-accept", "127.0.0.1:" + strconv.Itoa(port), "-cert", "key.pem", "-key", "key.pem", "-rev",
	}, strings.Fields(serverArgs)...)...)
	server.Dir = folder
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { server.Process.Kill(); server.Wait() }()
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	for range sessions {
		client := exec.CommandContext(ctx, program, append([]string{
			"s_client", "-connect", proxy.Addr().String(), "-servername", "www.example.net", "-sess_out", "session.pem",
		}, strings.Fields(clientArgs)...)...)
		client.Dir = folder
		if len(all) > 0 {
			client.Args = append(client.Args, "-sess_in", "session.pem")
		}
		input, err := client.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var output bytes.Buffer
		client.Stdout, client.Stderr = &output, &output
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		a, err := proxy.Accept()
		if err != nil {
			t.Fatal(err)
		}
		var b net.Conn
		for range 100 { // until the server listens
			if b, err = net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		var turns []turn
		var mu sync.Mutex
		var group sync.WaitGroup
		group.Go(func() { between(Client, a, b, &mu, &turns) })
		group.Go(func() { between(Server, b, a, &mu, &turns) })
		for _, line := range strings.SplitAfter(say, "\n") {
			io.WriteString(input, line)
			time.Sleep(300 * time.Millisecond) // the client takes lines of its own for commands
		}
		input.Close()
		client.Wait()
		group.Wait()
		a.Close()
		b.Close()
		all = append(all, turns)
		if t.Failed() {
			t.Log(output.String())
		}
	}
	return all
}

// writeKey writes an RSA key and a certificate of its own: for the key exchange of
// old.
func writeKey(t *testing.T, path string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "www.example.net"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: encoded})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOpenSSL is what Go does not speak.
func TestOpenSSL(t *testing.T) {
	tests := []struct {
		name           string
		server, client string
		say            string
		sessions       int
		version, suite string
		certificate    policy.State
		check          func(h *Handshake) bool
	}{
		{name: "RSA key exchange", client: "-tls1_2 -cipher AES128-SHA", server: "-cipher AES128-SHA:@SECLEVEL=0", version: "1.2", suite: "TLS_RSA_WITH_AES_128_CBC_SHA", certificate: policy.Known},
		{name: "TLS 1.0", client: "-tls1 -cipher ALL:@SECLEVEL=0", server: "-cipher ALL:@SECLEVEL=0", version: "1.0", certificate: policy.Known},
		{name: "anonymous", client: "-tls1_2 -cipher ADH-AES128-SHA:@SECLEVEL=0", server: "-cipher ADH-AES128-SHA:@SECLEVEL=0", version: "1.2", suite: "TLS_DH_anon_WITH_AES_128_CBC_SHA", certificate: policy.Absent},
		{name: "a key that both know", client: "-tls1_2 -psk 1a2b -cipher PSK-AES128-CBC-SHA", server: "-psk 1a2b -cipher PSK-AES128-CBC-SHA", version: "1.2", suite: "TLS_PSK_WITH_AES_128_CBC_SHA", certificate: policy.Absent},
		{name: "records of 512 bytes", client: "-tls1_2 -max_send_frag 512", server: "-max_send_frag 512", version: "1.2", certificate: policy.Known},
		{
			name: "renegotiation", client: "-tls1_2", server: "-client_renegotiation", say: "a\nR\nb\n", version: "1.2", certificate: policy.Known,
			check: func(h *Handshake) bool { return h.Renegotiated },
		},
		{
			name: "TLS 1.2, resumed by ticket", client: "-tls1_2", sessions: 2, version: "1.2", certificate: policy.Unobtainable,
			check: func(h *Handshake) bool { return h.Resumed && h.Client.Ticket },
		},
		{
			name: "TLS 1.2, resumed by session id", client: "-tls1_2 -no_ticket", server: "-no_ticket", sessions: 2, version: "1.2", certificate: policy.Unobtainable,
			check: func(h *Handshake) bool { return h.Resumed && !h.Client.Ticket },
		},
		{
			name: "TLS 1.3, resumed, CCM", client: "-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256", server: "-ciphersuites TLS_AES_128_CCM_SHA256", say: "a\n", sessions: 2, version: "1.3", suite: "TLS_AES_128_CCM_SHA256", certificate: policy.Unobtainable,
			check: func(h *Handshake) bool { return h.Resumed && h.Client.PreSharedKey },
		},
		{
			name: "TLS 1.3, retry", client: "-tls1_3 -groups X25519:P-384", server: "-groups P-384", version: "1.3", certificate: policy.Unobtainable,
			check: func(h *Handshake) bool { return h.Retried },
		},
		{
			name: "TLS 1.3, no middlebox mode", client: "-tls1_3 -no_middlebox", server: "-no_middlebox", version: "1.3", certificate: policy.Unobtainable,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			conversations := openssl(t, test.server, test.client, test.say, max(test.sessions, 1))
			turns := conversations[len(conversations)-1]
			got := read(new(Parser), turns, 0, 0)
			h := got.Handshake
			if got.Facts.ServerName != policy.Is("www.example.net") || got.Facts.Version != policy.Is(test.version) || got.Facts.Certificate.State != test.certificate {
				t.Fatalf("facts %+v", got.Facts)
			}
			if test.suite != "" && hello.CipherName(h.Server.Cipher) != test.suite {
				t.Errorf("suite %s", hello.CipherName(h.Server.Cipher))
			}
			if !h.Established || h.Renegotiated && test.check == nil || test.check != nil && !test.check(&h) {
				t.Errorf("%+v", h)
			}
			for _, piece := range []int{1, 3, 1000} {
				if again := read(new(Parser), turns, piece, 0); again.Facts.Version != got.Facts.Version || len(again.Messages) != len(got.Messages) {
					t.Errorf("in pieces of %d: %v, not %v", piece, again.Messages, got.Messages)
				}
			}
		})
	}
}
