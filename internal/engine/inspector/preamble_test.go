package inspector_test

import (
	"crypto/tls"
	"slices"
	"testing"

	"github.com/weirnet/weir/internal/engine/inspector"
)

// What is meant comes behind a preamble, and is judged anew.
func TestPreambles(t *testing.T) {
	secure := shake(t, "good.example", tls.VersionTLS13)
	requests := []turn{{0, getA}, {1, ok}}
	const (
		page  = "1 http 1.1 GET a.example/a 200 ?q=1 x-env=prod"
		hello = "1 tls 1.3 good.example 1.3  established"
	)
	for _, test := range []struct {
		name   string
		port   uint16
		turns  []turn
		inner  []turn
		record string
	}{
		{"SOCKS 4", 1080, []turn{{0, "\x04\x01\x00\x50\x01\x02\x03\x04user\x00"}, {1, "\x00\x5a\x00\x50\x01\x02\x03\x04"}}, requests, page},
		{"SOCKS 4A", 1080, []turn{{0, "\x04\x01\x01\xbb\x00\x00\x00\x01\x00good.example\x00"}, {1, "\x00\x5a\x00\x00\x00\x00\x00\x00"}}, secure, hello},
		{"SOCKS 4, refused", 1080, []turn{{0, "\x04\x01\x00\x50\x01\x02\x03\x04\x00"}, {1, "\x00\x5b\x00\x50\x01\x02\x03\x04"}}, requests, ""},
		{"SOCKS 5", 1080, []turn{{0, "\x05\x01\x00"}, {1, "\x05\x00"}, {0, "\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50"}, {1, "\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50"}}, requests, page},
		{"SOCKS 5, refused", 1080, []turn{{0, "\x05\x01\x00"}, {1, "\x05\xff"}}, requests, ""},
		{"SOCKS 5, to be bound", 1080, []turn{{0, "\x05\x01\x00"}, {1, "\x05\x00"}, {0, "\x05\x02\x00\x01\x01\x02\x03\x04\x00\x50"}, {1, "\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50"}}, requests, ""},
		{"PROXY 1", 80, []turn{{0, "PROXY TCP6 2001:db8::1 2001:db8::2 1 80\r\n"}}, requests, page},
		{"PROXY 2", 443, []turn{{0, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x50\x01\xbb"}}, secure, hello},
		{"a method of that name", 80, []turn{{0, "PROXY /a HTTP/1.1\r\nHost: a.example\r\n\r\n"}, {1, ok}}, nil, "1 http 1.1 PROXY a.example/a 200"},
		{"PostgreSQL", 5432, []turn{{0, "\x00\x00\x00\x08\x04\xd2\x16\x30"}, {1, "N"}, {0, "\x00\x00\x00\x08\x04\xd2\x16\x2f"}, {1, "S"}}, secure, hello},
		{"PostgreSQL, refused", 5432, []turn{{0, "\x00\x00\x00\x08\x04\xd2\x16\x2f"}, {1, "N"}}, secure, ""},
		{"MySQL", 3306, []turn{{1, "\x05\x00\x00\x00\x0aabcd"}, {0, "\x20\x00\x00\x01\x85\xae\xff\x19\x00\x00\x00\x01\xff" + string(make([]byte, 23))}}, secure, hello},
		{"LDAP", 389, []turn{{0, "\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"}, {1, "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"}}, secure, hello},
		{"RDP", 3389, []turn{{0, "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x0b\x00\x00\x00"}, {1, "\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x1f\x08\x00\x08\x00\x00\x00"}}, secure, hello},
		{"XMPP", 5222, []turn{
			{0, "<?xml version='1.0'?><stream:stream to='good.example' xmlns='jabber:client'>"},
			{1, "<stream:stream><stream:features/>"},
			{0, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"},
			{1, "<proceed/>"},
		}, secure, hello},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{0, 1, 3} {
				w := newWorld(t, "", nil)
				k := w.open(test.port)
				k.size = size
				for _, turn := range test.turns {
					k.say(turn.end, turn.text)
					// Neither end waits in vain for what the other has said.
					if until, how := w.Judged(1, turn.end); how != inspector.All && until != k.next[turn.end] && test.inner != nil {
						t.Errorf("%q is held from %d on", turn.text, until-k.next[turn.end])
					}
				}
				k.turns(slices.Clone(test.inner)).close()
				w.expect("records", w.briefs(), test.record)
			}
		})
	}
}
