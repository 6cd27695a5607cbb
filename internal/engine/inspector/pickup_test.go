package inspector_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/packet"
)

// Connections whose bytes were missed are picked up for records. Their verdict stays that
// of what was not seen: what looks like a request may be a body.
func TestPickUp(t *testing.T) {
	kept := func(c *inspector.Connection) { c.Kept = true }
	secure := shake(t, "good.example", tls.VersionTLS12)
	for _, test := range []struct {
		name    string
		talk    func(w *world)
		record  string
		verdict string
	}{
		{"a request, in the midst of a connection", func(w *world) {
			w.connect(80, nil).client("rest of a body").client(getA).server(ok).client(getEvil).server(ok)
		}, `
1 http 1.1 GET a.example/a 200 ?q=1 x-env=prod | block error.not_seen evil
1 http 1.1 GET a.example/evil 200 | block error.not_seen evil`, "block error.not_seen evil"},
		{"one that was open before", func(w *world) {
			w.connect(80, kept).client(getEvil).server(ok)
		}, "1 http 1.1 GET a.example/evil 200 | allow kept evil", "allow kept evil"},
		{"a handshake without its beginning", func(w *world) {
			w.connect(443, kept).turns(secure).close()
		}, "1 tls 1.2 good.example 1.2 CN=good.example established | allow kept evil", "allow kept evil"},
		{"a hole before a request", func(w *world) {
			k := w.open(80).client(getA).server(ok)
			k.client("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\n")
			k.next[0] += 10
			k.server(ok).client(getEvil).server(ok).close()
		}, `
1 http 1.1 GET a.example/a 200 ?q=1 x-env=prod | allow rule pages
1 http 1.1 POST a.example/ 200 | allow rule pages
1 http 1.1 GET a.example/evil 200 | block error.not_seen evil`, "block error.not_seen evil"},
		{"a tunnel whose answer is missing", func(w *world) {
			k := w.open(3128).client("CONNECT proxy.example:443 HTTP/1.1\r\nHost: proxy.example:443\r\n\r\n")
			k.next[1] += 19
			k.turns(secure).close()
		}, `
1 http 1.1 CONNECT proxy.example 0 | allow rule pages (bytes were not seen)
1 tls 1.2 good.example 1.2 CN=good.example established | block error.not_seen evil`, "block error.not_seen evil"},
		{"the server alone", func(w *world) {
			k := w.connect(80, nil)
			k.server(ok + strings.Replace(ok, "200 OK", "404 Gone", 1)).close()
		}, `
1 http 1.1 200 | block default (the request was not seen)
1 http 1.1 404 | block default (the request was not seen)`, "block default"},
		{"a server that greets in vain", func(w *world) {
			w.open(22).server("SSH-2.0-OpenSSH_9.6\r\n").close()
		}, "1 ssh 2.0  OpenSSH_9.6 | block default", "block default"},
		{"an answer alone", func(w *world) {
			k := w.datagrams(resolver, 53)
			k.datagram(1, ask(t, 7, "www.good.example.", "192.0.2.7"))
			k.datagram(1, ask(t, 8, "www.good.example.", "192.0.2.7"))
			k.datagram(0, ask(t, 9, "www.good.example.", ""))
			k.datagram(1, ask(t, 9, "www.good.example.", "192.0.2.7"))
			k.datagram(1, ask(t, 9, "www.good.example.", "192.0.2.66"))
		}, `
1 dns dns udp www.good.example A NOERROR [192.0.2.7] | pending (the query was not seen)
1 dns dns udp www.good.example A NOERROR [192.0.2.7] | pending (the query was not seen)
1 dns dns udp www.good.example A NOERROR [192.0.2.7] | allow rule names`, "allow rule names"},
		{"nothing that begins as a message does", func(w *world) {
			k := w.connect(80, nil)
			for range 30 {
				k.client("GET / HTTP/1.1 and more of a text\r\n" + strings.Repeat("x", 1000))
			}
		}, "", "block error.not_seen evil"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{0, 7} {
				if size > 0 && strings.Contains(test.name, "midst") {
					continue // which packets begin as messages do is by how they are cut
				}
				w := newWorld(t, pages, nil)
				test.talk(w)
				w.expect("records", w.briefs(), test.record)
				w.expect("verdict", w.verdict(1), test.verdict)
				if until, how := w.Judged(1, 0); how == inspector.Part {
					t.Errorf("held from %d on", until)
				}
			}
		})
	}
}

// Two answers to a SYN, with different numbers: the client says which it takes.
func TestAnsweredTwice(t *testing.T) {
	w := newWorld(t, "", nil)
	k := w.connect(80, nil)
	k.segment(0, packet.SYN, "")
	k.segment(1, packet.SYN|packet.ACK, "")
	k.next[1] = 700000
	k.segment(1, packet.SYN|packet.ACK, "")
	k.next[1] = 5000
	k.segment(1, packet.SYN|packet.ACK, "")
	k.next[1] = 700001
	k.segment(0, packet.ACK, "")
	k.client(getA).server(ok).close()
	w.expect("records", w.briefs(), "1 http 1.1 GET a.example/a 200 ?q=1 x-env=prod")
}
