package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/packet"
)

// noBadKey blocks logins by the key named bad.
func noBadKey(t *testing.T, s *sshd) policyFile {
	t.Helper()
	return newPolicy(t, fmt.Sprintf("mode: prevent\nrules:\n"+
		"  - {name: no-key, action: block, direction: inbound, layer4: {tcp: 2222}, layer7: {ssh: {public_keys: [%q]}}}\n"+
		"  - {name: shell, action: allow, layer4: {tcp: 2222}}\n", s.fingerprint(t, "bad")))
}

// TestSSHKeys: who logs in by a key that is blocked gets no session: sshd begins none, and
// none of its bytes comes.
func TestSSHKeys(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	at := netip.AddrPortFrom(l.address(l.a, ipv4, 0), 2222)
	s := startSSHD(t, l.a, at, "/usr/sbin/sshd", "", "good", "bad")
	w := start(t, l.a, config{policy: string(noBadKey(t, s)), receiver: sshServers()})
	for _, c := range []struct {
		name, user, key string
		opens           bool
	}{
		{"root by a good key", "root", "good", true},
		{"root by a bad key", "root", "bad", false},
		{"another by a good key", "nobody", "good", true},
		{"another by a bad key", "nobody", "bad", false},
		{"by a password", "root", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := l.b.record(t, farName)
			before := strings.Count(s.log(), "Starting session")
			out, err := s.login(t, l.b, c.user, c.key)
			r.stop(t, l.b, farName)
			opened := err == nil && strings.Contains(out, "authorized")
			if opened != c.opens {
				t.Errorf("a session was opened: %t, want %t; the client says\n%s%v\nand sshd\n%s", opened, c.opens, out, err, s.log())
			}
			if began := strings.Count(s.log(), "Starting session") > before; began != c.opens {
				t.Errorf("sshd began a session: %t, want %t:\n%s", began, c.opens, s.log())
			}
			if behind := behindLogin(t, r.path, at); (behind > 0) != c.opens {
				t.Errorf("%d bytes came from sshd after the login", behind)
			}
		})
	}
	ended := 0
	for _, r := range w.records(t) {
		if r.event == "weir.connection.verdict" && r.str("weir.verdict") == "blocked" && r.str("security_rule.name") == "no-key" {
			ended++
		}
	}
	if ended != 2 {
		t.Errorf("%d connections were told as blocked by the rule, want 2", ended)
	}
}

// TestSSHKeysTold: the key is told; in detect mode nothing is done about it.
func TestSSHKeysTold(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	at := netip.AddrPortFrom(l.address(l.a, ipv6, 0), 2222)
	s := startSSHD(t, l.a, at, "/usr/sbin/sshd", "", "good", "bad")
	p := newPolicy(t, fmt.Sprintf("rules:\n"+
		"  - {name: no-key, action: block, layer7: {ssh: {public_keys: [%q]}}}\n  - {name: shell, action: allow}\n", s.fingerprint(t, "bad")))
	w := start(t, l.a, config{policy: string(p), receiver: sshServers()})
	for name, want := range map[string]string{"good": "allow shell", "bad": "block no-key", "": "allow shell"} {
		if out, err := s.login(t, l.b, "root", name); err != nil || !strings.Contains(out, "authorized") {
			t.Errorf("no session was opened by %q: %v\n%s", name, err, out)
		}
		key := ""
		if name != "" {
			key = s.fingerprint(t, name)
		}
		w.awaitRecord(t, fmt.Sprintf("a handshake by %q that is judged %s", name, want), func(r record) bool {
			return r.event == "weir.ssh.handshake" && r.str("weir.ssh.client.public_key.fingerprint") == key &&
				r.str("weir.action")+" "+r.str("security_rule.name") == want
		})
	}
}

// TestSSHKeysUntold: where sshd does not tell who logs in, or is not the one that is
// believed, no byte of a session comes; one by another name is believed where it is
// configured.
func TestSSHKeysUntold(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	program, err := os.ReadFile(tool(t, "/usr/sbin/sshd"))
	if err != nil {
		t.Fatal(err)
	}
	session := filepath.Join(t.TempDir(), "sshd-session")
	other := filepath.Join(t.TempDir(), "other")
	for _, path := range []string{session, other} {
		if err := os.WriteFile(path, program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := newPolicy(t, "mode: prevent\nrules: [{name: shell, action: allow, layer4: {tcp: 1-65535}}]\n")
	w := start(t, l.a, config{policy: string(p), receiver: fmt.Sprintf("inspect: {ssh: {servers: [/usr/sbin/sshd, %q]}}", session)})
	for i, c := range []struct {
		name, program, settings string
		opens                   bool
	}{
		{"sshd says nothing", "/usr/sbin/sshd", "LogLevel QUIET\n", false},
		{"another sshd", other, "", false},
		{"sshd-session", session, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := netip.AddrPortFrom(l.address(l.a, ipv4, 0), uint16(2300+i))
			s := startSSHD(t, l.a, at, c.program, c.settings, "good", "bad")
			p.replace(t, fmt.Sprintf("mode: prevent\nrules:\n"+
				"  - {name: no-key, action: block, layer4: {tcp: 1-65535}, layer7: {ssh: {public_keys: [%q]}}}\n"+
				"  - {name: shell, action: allow, layer4: {tcp: 1-65535}}\n", s.fingerprint(t, "bad")))
			w.awaitChange(t, "loaded", i+2)
			r := l.b.record(t, farName)
			out, err := s.login(t, l.b, "root", "good")
			r.stop(t, l.b, farName)
			if opened := err == nil && strings.Contains(out, "authorized"); opened != c.opens {
				t.Errorf("a session was opened: %t, want %t; the client says\n%s%v", opened, c.opens, out, err)
			}
			if behind := behindLogin(t, r.path, at); (behind > 0) != c.opens {
				t.Errorf("%d bytes came from sshd after the login", behind)
			}
		})
	}
}

// TestSSHKeysFaked: messages that others write into the log while somebody logs in by a
// key that is not allowed change nothing.
func TestSSHKeysFaked(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	at := netip.AddrPortFrom(l.address(l.a, ipv4, 0), 2222)
	s := startSSHD(t, l.a, at, "/usr/sbin/sshd", "", "good", "bad")
	p := newPolicy(t, fmt.Sprintf("mode: prevent\nrules: [{name: key, action: allow, layer4: {tcp: 2222}, layer7: {ssh: {public_keys: [%q]}}}]\n", s.fingerprint(t, "good")))
	start(t, l.a, config{policy: string(p)})
	good := s.fingerprint(t, "good")
	var fakers sync.WaitGroup
	ended := make(chan struct{})
	var faked [2]int
	for i, user := range []int{0, 65534} {
		fakers.Add(1)
		go l.a.run(func() {
			defer fakers.Done()
			// Of this thread only, which ends with the call.
			if _, _, no := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(user), uintptr(user), uintptr(user)); no != 0 {
				t.Errorf("become user %d: %v", user, no)
				return
			}
			log, err := net.Dial("unixgram", filepath.Join(s.file("dev"), "log"))
			if err != nil {
				t.Error(err)
				return
			}
			defer log.Close()
			for {
				select {
				case <-ended:
					return
				case <-time.After(time.Millisecond):
				}
				for _, client := range clientsOf(at) {
					fmt.Fprintf(log, "<38>Nov 29 14:47:51 sshd[%d]: Accepted publickey for root from %v port %d ssh2: ED25519 %s", os.Getpid(), client.Addr(), client.Port(), good)
					faked[i]++
				}
			}
		})
	}
	out, err := s.login(t, l.b, "root", "bad")
	close(ended)
	fakers.Wait()
	if err == nil || strings.Contains(out, "authorized") {
		t.Errorf("a session was opened:\n%s", out)
	}
	if faked[0] == 0 || faked[1] == 0 || !strings.Contains(s.log(), good) {
		t.Errorf("%v messages were faked", faked)
	}
	if out, err := s.login(t, l.b, "root", "good"); err != nil {
		t.Errorf("no session was opened by the key that is allowed: %v\n%s", err, out)
	}
}

// clientsOf are the other ends of a server's connections in the network namespace of the
// caller's thread.
func clientsOf(at netip.AddrPort) (clients []netip.AddrPort) {
	sockets, err := netlink.SocketDiagTCP(unix.AF_INET)
	if err != nil {
		return nil
	}
	for _, s := range sockets {
		if a, ok := netip.AddrFromSlice(s.ID.Destination.To4()); ok && s.ID.SourcePort == at.Port() && s.ID.DestinationPort != 0 {
			clients = append(clients, netip.AddrPortFrom(a, s.ID.DestinationPort))
		}
	}
	return clients
}

// behindLogin is how many bytes a server has sent, in a capture of one connection, after
// it told the client that it is logged in: the first packet of a message without content
// (RFC 4252 section 5.1), which has 28 bytes.
func behindLogin(t *testing.T, path string, server netip.AddrPort) int {
	t.Helper()
	frames, err := capture.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer frames.Close()
	n, in := 0, false
	for {
		f, err := frames.Next()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		var p packet.Packet
		if p.Decode(&f.Frame) != packet.Decoded || p.Source != server.Addr() || p.SourcePort != server.Port() {
			continue
		}
		size := len(p.CapturedPayload(f.Data))
		if in {
			n += size
		}
		in = in || size == 28
	}
}
