package inspector_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/packet"
)

// What a client can do so that a server reads other than Weir: whatever of it is not
// certain is not allowed.
func TestEvasion(t *testing.T) {
	hello := shake(t, "good.example", tls.VersionTLS13)[0].text
	other := strings.Replace(hello, "good.example", "evil.example", 1)
	raw := func(k *talk, flags uint8, at int, payload string) {
		k.w.Packet(&k.c, &inspector.Packet{
			Time: k.w.now, Seq: k.next[0] + uint32(at), Ack: k.next[1], Flags: flags, Payload: []byte(payload),
		})
		k.w.take()
	}
	for _, test := range []struct {
		name    string
		port    uint16
		talk    func(k *talk)
		verdict string
	}{
		{"a hello whose second half comes with two names", 443, func(k *talk) {
			raw(k, packet.ACK, 100, other[100:])
			raw(k, packet.ACK, 100, hello[100:])
			raw(k, packet.ACK, 0, hello[:100])
		}, "block error.malformed evil"},
		{"a hello that is sent again with another name", 443, func(k *talk) {
			raw(k, packet.ACK, 0, hello[:200])
			raw(k, packet.ACK, 0, other[:200])
			raw(k, packet.ACK, 200, hello[200:])
		}, "block error.malformed evil"},
		{"a request that overlaps another", 80, func(k *talk) {
			raw(k, packet.ACK, 0, getA[:20])
			raw(k, packet.ACK, 5, "evil"+getA[9:])
		}, "block error.malformed evil"},
		{"urgent data, which may be taken out", 80, func(k *talk) {
			raw(k, packet.ACK|packet.URG, 0, getA)
		}, "block error.malformed evil"},
		{"bytes behind the end", 80, func(k *talk) {
			raw(k, packet.ACK|packet.FIN, 0, getA[:30])
			raw(k, packet.ACK, 30, getA[30:])
		}, "block error.malformed evil"},
		{"an end out of place", 80, func(k *talk) {
			raw(k, packet.ACK, 0, getA)
			raw(k, packet.ACK|packet.FIN, 10, "")
			raw(k, packet.ACK, len(getA), getEvil)
		}, "block error.malformed evil"},
		{"a reset that the server does not take", 80, func(k *talk) {
			raw(k, packet.RST, 5000, "")
			k.client(getEvil)
		}, "block rule evil"},
		{"a request in the SYN", 80, func(k *talk) {
			k.w.Ended(k.c.ID, k.w.now)
			k.c.ID++
			k.next[0] = 7000
			raw(k, packet.SYN, 0, getEvil)
		}, "block rule evil"},
		{"two lengths", 80, func(k *talk) {
			k.client("POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabc" + getEvil)
		}, "block error.malformed evil"},
		{"a length and chunks", 80, func(k *talk) {
			k.client("POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + getEvil)
		}, "block error.malformed evil"},
		{"a query behind another", 53, func(k *talk) {
			good := ask(t, 1, "a.good.example.", "")
			k.client(framed(good) + framed(ask(t, 2, "b.evil.example.", "")))
			if last := k.w.briefs(); last != "" {
				t.Error(last)
			}
			k.close() // no answer will come
			for range 2 {
				k.w.expect("records", k.w.briefs(), `
1 dns dns tcp a.good.example A  [] | allow rule names
1 dns dns tcp b.evil.example A  [] | block default`)
				k.w.Finish(k.w.now)
				k.w.take()
			}
		}, "block default"},
		{"what begins as a greeting of SOCKS", 1080, func(k *talk) {
			k.client("\x05\x01\x00" + hello)
		}, "block default"},
		{"what SOCKS leads to", 1080, func(k *talk) {
			k.client("\x05\x01\x00").server("\x05\x00").client("\x05\x01\x00\x01\x01\x02\x03\x04\x01\xbb")
			k.w.expect("on the way", k.verdict(), "nothing")
			k.server("\x05\x00\x00\x01\x01\x02\x03\x04\x01\xbb").client(hello)
		}, "allow rule secure"},
		{"what SOCKS leads to, of another name", 1080, func(k *talk) {
			k.client("\x05\x01\x00").server("\x05\x00").client("\x05\x01\x00\x01\x01\x02\x03\x04\x01\xbb")
			k.server("\x05\x00\x00\x01\x01\x02\x03\x04\x01\xbb").client(other)
		}, "block default"},
		{"SOCKS that leads nowhere", 1080, func(k *talk) {
			k.client("\x05\x01\x00").server("\x05\xff").client(hello)
		}, "block default"},
		{"what passes as SOCKS and is none", 1080, func(k *talk) {
			k.client("\x05\x01\x00").server("\x05\x00").client(strings.Repeat("x", 2000))
			if until, how := k.w.Judged(k.c.ID, 0); how == inspector.Part && until-1001 > 1024 {
				t.Errorf("%d bytes pass", until-1001)
			}
		}, "block default"},
		{"a request behind the PROXY protocol", 80, func(k *talk) {
			k.client("PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n" + getEvil)
		}, "block rule evil"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, pages, nil)
			k := w.open(test.port)
			test.talk(k)
			w.expect("verdict", k.verdict(), test.verdict)
		})
	}
}
