package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/quic-go/quic-go"
)

// sshAndSCP logs in, and copies files both ways. One server's software is allowed,
// another's is not, and at a port for HTTP there is none.
func sshAndSCP(t *testing.T, p *programs) {
	ssh, scp := tool(t, "ssh"), tool(t, "scp")
	options := func(s *sshd) []string {
		return []string{
			"-F", "none", "-i", s.file("good"), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10",
		}
	}
	run := func(s *sshd, command string) (string, error) {
		return p.a.output(t, ssh, append(options(s), "-p", fmt.Sprint(s.at.Port()), "root@"+s.at.Addr().String(), command)...)
	}
	s := startSSHD(t, p.b, p.at(2201), "/usr/sbin/sshd", "", "good")
	dir := t.TempDir()
	want := content(8, 5<<20)
	if err := os.WriteFile(filepath.Join(dir, "sent"), want, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run(s, "cat "+filepath.Join(dir, "sent")); err != nil || out != string(want) {
		t.Errorf("ssh gives %d bytes, other than %d that were sent: %v", len(out), len(want), err)
	}
	there := "root@[" + s.at.Addr().String() + "]:" + dir + "/"
	for _, way := range [][]string{{filepath.Join(dir, "sent"), there + "up"}, {there + "up", filepath.Join(dir, "down")}} {
		if out, err := p.a.output(t, scp, append(append(options(s), "-q", "-P", fmt.Sprint(s.at.Port())), way...)...); err != nil {
			t.Errorf("scp %q: %v\n%s", way, err, out)
		}
	}
	isContent(t, filepath.Join(dir, "up"), want)
	isContent(t, filepath.Join(dir, "down"), want)
	p.tells(t, "weir.ssh.handshake", 2201, "weir.verdict", "allowed", "security_rule.name", "shell")

	for _, port := range []uint16{2202, 8005} {
		o := startSSHD(t, p.b, netip.AddrPortFrom(p.address(p.b, p.f, 2), port), "/usr/sbin/sshd", "", "good")
		if out, err := run(o, "echo in"); err == nil {
			t.Errorf("ssh to port %d says %q", port, out)
		}
		if log := o.log(); bytes.Contains([]byte(log), []byte("Accepted")) {
			t.Errorf("sshd at port %d let somebody in:\n%s", port, log)
		}
		p.tells(t, "weir.connection.end", port, "network.protocol.name", "ssh", "weir.verdict", "blocked", "weir.reason", "default")
	}
}

// digNames asks for names that are allowed and for others, by UDP and TCP.
func digNames(t *testing.T, p *programs) {
	dig := tool(t, "dig")
	at := p.at(5300)
	came := &visits{}
	p.b.answerNames(t, at, came.add)
	ask := func(way, name string) (string, error) {
		return p.a.output(t, dig, "@"+at.Addr().String(), "-p", fmt.Sprint(at.Port()), "+short", "+tries=1", "+time=1", way, name, "A")
	}
	for _, way := range []string{"+notcp", "+tcp"} {
		transport := map[string]string{"+notcp": "udp", "+tcp": "tcp"}[way]
		name, secret := transport+".www.example.com", transport+".tracker.example"
		if out, err := ask(way, name); err != nil || out != "192.0.2.1\n" {
			t.Errorf("dig %s %s says %q, %v", way, name, out, err)
		}
		if out, err := ask(way, secret); err == nil {
			t.Errorf("dig %s %s says %q", way, secret, out)
		}
		if n := came.of(secret + "."); n > 0 {
			t.Errorf("%d questions for %s came", n, secret)
		}
		p.tells(t, "weir.dns.query", at.Port(), "dns.question.name", name, "weir.dns.transport", transport, "weir.verdict", "allowed", "security_rule.name", "names")
		p.tells(t, "weir.dns.query", at.Port(), "dns.question.name", secret, "weir.dns.transport", transport, "weir.verdict", "blocked", "weir.reason", "default")
	}
}

// quicNames transfers files by a name that is allowed, and none by another.
func quicNames(t *testing.T, p *programs) {
	at := p.at(8443)
	socket := func(h *host, at netip.AddrPort) *quic.Transport {
		var c *net.UDPConn
		var err error
		h.run(func() { c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) })
		if err != nil {
			t.Fatal(err)
		}
		transport := &quic.Transport{Conn: c}
		t.Cleanup(func() { transport.Close(); c.Close() })
		return transport
	}
	client := netip.AddrPortFrom(p.address(p.a, p.f, 0), 0)
	names := &visits{}
	settings := &tls.Config{NextProtos: []string{"test"}, Certificates: []tls.Certificate{newCertificate(t, "www.example.com")}}
	serving := &tls.Config{NextProtos: settings.NextProtos, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		names.add(hello.ServerName)
		return settings, nil
	}}
	l, err := socket(p.b, at).Listen(serving, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				for {
					s, err := c.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go func() { io.Copy(s, s); s.Close() }()
				}
			}()
		}
	}()
	call := func(ctx context.Context, from *quic.Transport, name string) error {
		c, err := from.Dial(ctx, net.UDPAddrFromAddrPort(at), &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"test"}}, nil)
		if err != nil {
			return err
		}
		defer c.CloseWithError(0, "")
		for i := range 3 {
			s, err := c.OpenStreamSync(ctx)
			if err != nil {
				return err
			}
			want := content(byte(i), 1<<20)
			go func() { s.Write(want); s.Close() }()
			if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, want) {
				return fmt.Errorf("stream %d: %d bytes came, other than %d that were sent: %w", i, len(got), len(want), err)
			}
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	one := socket(p.a, client)
	for i := range 3 {
		if err := call(ctx, one, "www.example.com"); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	// By a socket of its own, and in the conversation that was allowed.
	for _, from := range []*quic.Transport{socket(p.a, client), one} {
		short, stop := context.WithTimeout(ctx, silence)
		defer stop()
		if err := call(short, from, "secret.example"); err == nil {
			t.Error("the name that is forbidden is answered")
		}
	}
	if names.of("www.example.com") == 0 || names.of("secret.example") > 0 {
		t.Errorf("these names came: %v", names.all)
	}
	p.tells(t, "weir.tls.handshake", at.Port(), "weir.tls.server_name", "www.example.com", "weir.verdict", "allowed", "security_rule.name", "quic")
	p.tells(t, "weir.tls.handshake", at.Port(), "weir.tls.server_name", "secret.example", "weir.verdict", "blocked", "weir.reason", "default")
	p.tells(t, "weir.connection.verdict", at.Port(), "network.protocol.name", "quic", "weir.verdict", "blocked", "weir.reason", "default")
}
