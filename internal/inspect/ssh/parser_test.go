package ssh_test

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/inspect/ssh"
	"github.com/weirnet/weir/internal/policy"
)

// wrap makes a packet of a payload as long as there are no keys.
func wrap(payload ...byte) []byte {
	padding := 8 - (5+len(payload))%8
	if padding < 4 {
		padding += 8
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	b = append(append(b, byte(padding)), payload...)
	return append(b, make([]byte, padding)...)
}

// keyInit is an offer: key exchanges, host keys, ciphers, MACs, compressions.
func keyInit(kex, key, cipher, mac, compression string) []byte {
	b := make([]byte, 17)
	b[0] = 20
	for _, list := range []string{kex, key, cipher, cipher, mac, mac, compression, compression, "", ""} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(list))), list...)
	}
	return wrap(append(b, 0, 0, 0, 0, 0)...)
}

// differing is an offer whose lists differ by sender.
func differing() []byte {
	b := make([]byte, 17)
	b[0] = 20
	for _, list := range []string{"k", "h", "c0", "c1", "m0", "m1", "z0", "z1", "", ""} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(list))), list...)
	}
	return wrap(append(b, 0, 0, 0, 0, 0)...)
}

func TestDirections(t *testing.T) {
	p := read(t, join([]byte("SSH-2.0-c\n"), differing()), join([]byte("SSH-2.0-s\n"), differing()), [2]int{1000, 1000})
	h := p.Handshake()
	want := ssh.Algorithms{
		KeyExchange: "k", HostKey: "h", Cipher: [2]string{"c0", "c1"}, MAC: [2]string{"m0", "m1"}, Compression: [2]string{"z0", "z1"},
	}
	if h.Algorithms != policy.Is(want) {
		t.Errorf("%+v", h.Algorithms)
	}
	for e, offered := range []string{"k;c0;m0;z0", "k;c1;m1;z1"} {
		if sum := md5.Sum([]byte(offered)); h.HASSH[e].Value != hex.EncodeToString(sum[:]) {
			t.Errorf("end %d: %s", e, h.HASSH[e].Value)
		}
	}
}

func offer(kex string) []byte {
	return keyInit(kex, "ssh-ed25519", "aes128-ctr", "hmac-sha2-256", "none")
}

// reply has a key of no bytes but its type.
func reply(number byte, kind string) []byte {
	b := []byte{number, 0, 0, 0, byte(4 + len(kind)), 0, 0, 0, byte(len(kind))}
	return wrap(append(append(b, kind...), make([]byte, 40)...)...)
}

var newKeys = wrap(21)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// state writes a fact.
func state[T any](f policy.Fact[T]) string {
	switch f.State {
	case policy.Known:
		return fmt.Sprintf("%+v", f.Value)
	case policy.Absent:
		return "absent"
	case policy.Unobtainable:
		return f.Cause.String()
	}
	return "unknown"
}

// small writes what is known: the banners, the method, the host key.
func small(p *ssh.Parser) string {
	h := p.Handshake()
	banner := func(e ssh.End) string {
		if h.Banner[e].State == policy.Known {
			return h.Banner[e].Value.Software
		}
		return state(h.Banner[e])
	}
	method := h.Algorithms.Value.KeyExchange
	if h.Algorithms.State != policy.Known {
		method = state(h.Algorithms)
	}
	key := state(h.HostKey)
	if h.HostKey.State == policy.Known {
		key = h.HostKeyType
	}
	return strings.Join([]string{banner(0), banner(1), method, key}, " ")
}

func TestHandshakes(t *testing.T) {
	c, s := []byte("SSH-2.0-c\r\n"), []byte("SSH-2.0-s\r\n")
	long := func(n int) []byte { return []byte("SSH-2.0-" + strings.Repeat("x", n-10) + "\r\n") }
	for _, x := range []struct {
		name           string
		client, server []byte
		want           string
	}{
		{"nothing yet", nil, nil, "unknown unknown unknown unknown"},
		{"half a banner", c[:9], s[:3], "unknown unknown unknown unknown"},
		{"banners", c, s, "c s unknown unknown"},
		{"line ends of all kinds", []byte("SSH-2.0-c\n"), []byte("SSH-2.0-s\r"), "c s unknown unknown"},
		{
			"carriage return alone, then packets", join([]byte("SSH-2.0-c\r"), offer("a")), join([]byte("SSH-2.0-s\r"), offer("a")),
			"c s a unknown",
		},
		{"lines before the server's", c, join([]byte("hello\r\n\nSSH is here\n"), s), "c s unknown unknown"},
		{"long lines before the server's", c, join(bytes.Repeat([]byte("x"), 5000), []byte("SSH-2.0-x\n"), s), "c s unknown unknown"},
		{"a server that never comes to it", c, bytes.Repeat([]byte("x\n"), 40000), "c malformed malformed malformed"},
		{"lines before the client's", join([]byte("hello\n"), c), s, "malformed s malformed unknown"},
		{"other protocol", []byte("GET / HTTP/1.1\r\n"), s, "malformed s malformed unknown"},
		{"banner of 255 bytes", long(255), long(255), strings.Repeat("x", 245) + " " + strings.Repeat("x", 245) + " unknown unknown"},
		{"banner of 256 bytes", long(256), s, "malformed s malformed unknown"},
		{"version 1.99", c, []byte("SSH-1.99-s\n"), "c s unknown unknown"},
		{"version 1", c, join([]byte("SSH-1.5-s\n"), []byte("junk of SSH 1")), "c s absent absent"},
		{"client of version 1", join([]byte("SSH-1.5-c\n"), []byte("junk")), []byte("SSH-1.99-s\njunk"), "c s absent absent"},
		{"no software", c, []byte("SSH-2.0-\r\n"), "c malformed malformed malformed"},
		{"no version", c, []byte("SSH--s\r\n"), "c malformed malformed malformed"},
		{"no second dash", c, []byte("SSH-2.0\r\n"), "c malformed malformed malformed"},
		{"a zero in the software", c, []byte("SSH-2.0-s\x00x\r\n"), "c malformed malformed malformed"},
		{"dashes in the software", c, []byte("SSH-2.0-s-1-2 c-d\r\n"), "c s-1-2 unknown unknown"},
		{
			"all of it", join(c, offer("a,b"), wrap(30), newKeys, []byte("secret")),
			join(s, offer("b,a"), reply(31, "ssh-x"), newKeys, []byte("secret")), "c s a ssh-x",
		},
		{
			"ignored packets between", join(c, wrap(2, 0, 0, 0, 0), offer("a"), newKeys),
			join(s, wrap(4), offer("a"), wrap(2), reply(31, "ssh-x"), newKeys), "c s a ssh-x",
		},
		{
			"group exchange", join(c, offer("diffie-hellman-group-exchange-sha256")),
			join(s, offer("diffie-hellman-group-exchange-sha256"), wrap(31, 0, 0, 0, 8, 0, 0, 0, 3, 'p', 'q', 'r', 0), reply(33, "ssh-x")),
			"c s diffie-hellman-group-exchange-sha256 ssh-x",
		},
		{
			"RSA key transport", join(c, offer("rsa2048-sha256")), join(s, offer("rsa2048-sha256"), reply(30, "ssh-x")),
			"c s rsa2048-sha256 ssh-x",
		},
		{
			"GSS-API without a host key", join(c, offer("gss-x"), newKeys), join(s, offer("gss-x"), reply(31, "ssh-x"), newKeys),
			"c s gss-x absent",
		},
		{"nothing in common", join(c, offer("a")), join(s, offer("b")), "c s  unknown"},
		{"markers are no methods", join(c, offer("ext-info-c,a")), join(s, offer("ext-info-s,a")), "c s a unknown"},
		{"no reply before the keys", join(c, offer("a"), newKeys), join(s, offer("a"), newKeys), "c s a malformed"},
		{"no offer before the keys", join(c, newKeys), join(s, newKeys), "c s malformed malformed"},
		{"reply without a key", join(c, offer("a")), join(s, offer("a"), wrap(31, 1)), "c s a malformed"},
		{"offer cut short", join(c, wrap(20, 1, 2)), s, "c s malformed unknown"},
		{"a list that is no list", join(c, offer("a\x00")), s, "c s malformed unknown"},
		{"more names than are searched", join(c, offer(strings.Repeat("a,", 300))), join(s, offer("a")), "c s limit unknown"},
		{"length that none has", join(c, []byte{0xff, 0xff, 0xff, 0xfc, 4, 20}), s, "c s malformed unknown"},
		{"length of no blocks", join(c, []byte{0, 0, 0, 13, 4, 20}), s, "c s malformed unknown"},
		{"padding longer than the packet", join(c, []byte{0, 0, 0, 12, 11, 20}), s, "c s malformed unknown"},
		{"too little padding", join(c, []byte{0, 0, 0, 12, 3, 20}), s, "c s malformed unknown"},
		{"packets without end", join(c, bytes.Repeat(wrap(2), 300)), s, "c s limit unknown"},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := read(t, x.client, x.server, [2]int{1 << 20, 1 << 20})
			if got := small(p); got != x.want {
				t.Errorf("%q, want %q", got, x.want)
			}
			if one := read(t, x.client, x.server, [2]int{1, 1}); text(one) != text(p) {
				t.Errorf("byte by byte:\n%s; want\n%s", text(one), text(p))
			}
			for e := range ssh.End(2) {
				p.Close(e)
				if p.Wants(e) {
					t.Errorf("end %d wants more after its last byte", e)
				}
			}
			if !p.Handshake().Settled() {
				t.Errorf("not settled: %s", text(p))
			}
		})
	}
}

func TestLosses(t *testing.T) {
	c, s := []byte("SSH-2.0-c\r\n"), []byte("SSH-2.0-s\r\n")
	big := wrap(append([]byte{31, 0, 0, 0, 9, 0, 0, 0, 5, 's', 's', 'h', '-', 'x'}, make([]byte, 4000)...)...)
	for _, x := range []struct {
		name string
		run  func(p *ssh.Parser)
		want string
	}{
		{"limit in an offer", func(p *ssh.Parser) {
			hold(p, ssh.Client, join(c, offer("a"))[:60])
			p.Read(ssh.Client, make([]byte, p.Skip(ssh.Client)))
			p.Read(ssh.Client, newKeys)
		}, "c unknown limit unknown"},
		{"limit in a reply, behind the key", func(p *ssh.Parser) {
			hold(p, ssh.Server, join(s, offer("a"), big[:100]))
			p.Gap(ssh.Server, p.Skip(ssh.Server))
			p.Read(ssh.Server, newKeys)
		}, "unknown s unknown ssh-x"},
		{"limit in a reply, in the key", func(p *ssh.Parser) {
			p.Read(ssh.Client, join(c, offer("a")))
			hold(p, ssh.Server, join(s, offer("a"), big[:10]))
		}, "c s a limit"},
		{"limit in a banner", func(p *ssh.Parser) { hold(p, ssh.Server, s[:6]) }, "unknown malformed malformed malformed"},
		{"limit before a banner", func(p *ssh.Parser) { hold(p, ssh.Server, s[:2]) }, "unknown malformed malformed malformed"},
		{"gap in a banner", func(p *ssh.Parser) {
			p.Read(ssh.Server, s[:6])
			p.Gap(ssh.Server, 3)
			p.Read(ssh.Server, s)
		}, "unknown not_seen not_seen not_seen"},
		{"gap between packets", func(p *ssh.Parser) {
			p.Read(ssh.Client, join(c, offer("a")))
			p.Read(ssh.Server, s)
			p.Gap(ssh.Server, 0)
			p.Read(ssh.Server, offer("a"))
		}, "c s not_seen not_seen"},
		{"gap of the client", func(p *ssh.Parser) {
			p.Gap(ssh.Client, 0)
			p.Read(ssh.Server, join(s, offer("a"), big, newKeys))
		}, "not_seen s not_seen ssh-x"},
		{"end inside a packet", func(p *ssh.Parser) {
			p.Read(ssh.Client, join(c, offer("a")[:20]))
			p.Close(ssh.Client)
		}, "c unknown malformed unknown"},
		{"end without a word", func(p *ssh.Parser) { p.Close(ssh.Server) }, "unknown absent absent absent"},
	} {
		t.Run(x.name, func(t *testing.T) {
			var p ssh.Parser
			x.run(&p)
			if got := small(&p); got != x.want {
				t.Errorf("%q, want %q", got, x.want)
			}
		})
	}
}

// hold hands over all that the caller can hold.
func hold(p *ssh.Parser, end ssh.End, data []byte) {
	n := p.Read(end, data)
	p.Limit(end)
	p.Read(end, data[n:])
}

func TestDetect(t *testing.T) {
	for data, want := range map[string]ssh.Match{
		"": ssh.More, "S": ssh.More, "SSH": ssh.More, "SSH-": ssh.Yes, "SSH-2.0-x\r\n": ssh.Yes,
		"ssh-2.0-x\r\n": ssh.No, "SSL": ssh.No, "GET / HTTP/1.1\r\n": ssh.No, "\x16\x03\x01": ssh.No,
		"hello\r\nSSH-2.0-x\r\n": ssh.Yes, strings.Repeat("x", 600) + "\nSSH-2.0-x": ssh.No,
	} {
		if got := ssh.Detect([]byte(data)); got != want {
			t.Errorf("%q: %v", data, got)
		}
	}
}
