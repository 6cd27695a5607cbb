package ssh_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirnet/weir/internal/inspect/ssh"
	"github.com/weirnet/weir/internal/policy"
)

// read feeds the bytes of both ends, the client's and the server's in turn, each
// in steps.
func read(t testing.TB, client, server []byte, steps [2]int) *ssh.Parser {
	t.Helper()
	p := &ssh.Parser{}
	data := [2][]byte{client, server}
	var at, end [2]int
	var last [2]uint64
	for end[0] < len(data[0]) || end[1] < len(data[1]) {
		for e := range data {
			end[e] = min(end[e]+steps[e], len(data[e]))
			n := p.Read(ssh.End(e), data[e][at[e]:end[e]])
			if n < 0 || n > end[e]-at[e] {
				t.Fatalf("%d of %d bytes consumed", n, end[e]-at[e])
			}
			at[e] += n
		}
		for _, m := range p.Messages() {
			if m.Begin < last[m.From] || m.End < m.Begin {
				t.Fatalf("%+v begins before %d", m, last[m.From])
			}
			last[m.From] = m.End
		}
		p.Reset()
	}
	return p
}

// text is all that is known.
func text(p *ssh.Parser) string { return fmt.Sprintf("%+v", *p.Handshake()) }

// recorded are handshakes of OpenSSH 9.2, client and server.
var recorded = []struct {
	name       string
	algorithms string
	key        string
}{
	{"sntrup", "sntrup761x25519-sha512 ssh-ed25519 chacha20-poly1305@openssh.com", "SHA256:t9kEZTPzENj9adfgmLa9F0EyPjGHHxSuUxfQXN5oQwc"},
	{"curve25519", "curve25519-sha256 rsa-sha2-512 chacha20-poly1305@openssh.com", "SHA256:VAI0J2AlbaU42l5MeKRC37hx1AOIMK23u2LLrhQy6HY"},
	{"gex", "diffie-hellman-group-exchange-sha256 ecdsa-sha2-nistp256 aes256-ctr", "SHA256:ULpopRB0Dp87fe1bnYJvJ0xZb5lN79lD++n2ZRZz6Hc"},
	{"group14", "diffie-hellman-group14-sha256 ssh-ed25519 chacha20-poly1305@openssh.com", "SHA256:t9kEZTPzENj9adfgmLa9F0EyPjGHHxSuUxfQXN5oQwc"},
}

func record(t testing.TB, name string) (client, server []byte) {
	t.Helper()
	path := filepath.Join("testdata", "openssh-9.2", name)
	client, err := os.ReadFile(path + ".client")
	if err != nil {
		t.Fatal(err)
	}
	server, err = os.ReadFile(path + ".server")
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

func TestOpenSSH(t *testing.T) {
	for _, c := range recorded {
		t.Run(c.name, func(t *testing.T) {
			client, server := record(t, c.name)
			p := read(t, client, server, [2]int{1 << 20, 1 << 20})
			h := p.Handshake()
			a := h.Algorithms.Value
			if got := a.KeyExchange + " " + a.HostKey + " " + a.Cipher[0]; got != c.algorithms || !a.Strict {
				t.Errorf("%+v", a)
			}
			// The names in sshd's and ssh's lists of MACs are the same.
			if wanted := a.Cipher[0] == "aes256-ctr"; (a.MAC[1] == "umac-64-etm@openssh.com") != wanted || a.Compression[0] != "none" {
				t.Errorf("%+v", a)
			}
			if h.HostKey != policy.Is(c.key) {
				t.Errorf("key %+v", h.HostKey)
			}
			if b := h.Banner; b[0].Value.Software != "OpenSSH_9.2p1" || b[1].Value.Comments != "Debian-2+deb12u10" {
				t.Errorf("banners %+v", b)
			}
			if p.Facts().Software != policy.Is("OpenSSH_9.2p1") {
				t.Errorf("facts %+v", p.Facts())
			}
			if p.Wants(0) || p.Wants(1) || !h.Settled() {
				t.Error("not done")
			}
			whole := text(p)
			for _, steps := range [][2]int{{1, 1}, {1, 1 << 20}, {1 << 20, 1}, {7, 3}} {
				if got := text(read(t, client, server, steps)); got != whole {
					t.Errorf("in steps of %d:\n%s; want\n%s", steps, got, whole)
				}
			}
			for cut := range max(len(client), len(server)) {
				var p ssh.Parser
				for e, data := range [2][]byte{client, server} {
					n := p.Read(ssh.End(e), data[:min(cut, len(data))])
					p.Read(ssh.End(e), data[n:])
				}
				if text(&p) != whole {
					t.Fatalf("cut at %d: %s", cut, text(&p))
				}
			}
			// The server's bytes first: then the content tells which packet has the key.
			var late ssh.Parser
			late.Read(ssh.Server, server)
			if late.Handshake().HostKey != policy.Is(c.key) {
				t.Errorf("of the server's bytes alone: key %+v", late.Handshake().HostKey)
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	client, server := record(t, "gex")
	var p ssh.Parser
	p.Read(ssh.Client, client)
	p.Read(ssh.Server, server)
	kinds := map[ssh.End][]ssh.Kind{}
	for _, m := range p.Messages() {
		kinds[m.From] = append(kinds[m.From], m.Kind)
		data := [2][]byte{client, server}[m.From][m.Begin:m.End]
		number := map[ssh.Kind]byte{ssh.KindKeyInit: 20, ssh.KindHostKey: 33, ssh.KindNewKeys: 21}[m.Kind]
		if m.Kind == ssh.KindBanner && string(data[:4]) != "SSH-" || number != 0 && data[5] != number {
			t.Errorf("%+v is %q", m, data)
		}
	}
	want := map[ssh.End][]ssh.Kind{
		ssh.Client: {ssh.KindBanner, ssh.KindKeyInit, ssh.KindNewKeys},
		ssh.Server: {ssh.KindBanner, ssh.KindKeyInit, ssh.KindHostKey, ssh.KindNewKeys},
	}
	if fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", kinds, want)
	}
}
