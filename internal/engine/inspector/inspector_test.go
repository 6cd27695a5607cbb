package inspector_test

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

const (
	getA    = "GET /a?q=1 HTTP/1.1\r\nHost: a.example\r\nX-Env: prod\r\n\r\n"
	getEvil = "GET /evil HTTP/1.1\r\nHost: a.example\r\n\r\n"
	ok      = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
	pages   = `
default_action: block
rules:
  - {name: evil, action: block, layer7: {http: {paths: [/evil]}}}
  - {name: pages, action: allow, layer7: {http: {hosts: [a.example, proxy.example]}}}
  - {name: secure, action: allow, layer7: {tls: {server_names: [good.example]}}}
  - {name: mail, action: allow, layer4: {tcp: 25}}
  - {name: names, action: allow, layer7: {dns: {names: [.good.example]}}}
  - {name: shell, action: allow, layer7: {ssh: {software: ["OpenSSH_9*"]}}}`
)

func TestRequests(t *testing.T) {
	w := newWorld(t, pages, nil)
	k := w.open(80)
	w.expect("verdict", k.verdict(), "nothing")
	k.client(getA)
	w.expect("verdict", k.verdict(), "allow rule pages")
	k.server(ok).client(getA + getEvil + getA).server(ok)
	w.expect("verdict", k.verdict(), "block rule evil")
	k.close()
	w.expect("records", w.briefs(), `
1 http 1.1 GET a.example/a 200 ?q=1 x-env=prod | allow rule pages
1 http 1.1 GET a.example/a 200 ?q=1 x-env=prod | allow rule pages
1 http 1.1 GET a.example/evil 0 | block rule evil (the connection ended before the response)
1 http 1.1 GET a.example/a 0 ?q=1 x-env=prod | allow rule pages (the connection ended before the response)`)
	if s := w.settled[1]; s.Application != policy.AppHTTP || s.Tables != 1 {
		t.Errorf("%+v", s)
	}
	first := &w.said[0]
	if first.Answered.Sub(first.Time) != time.Millisecond || first.Connection.Interface != "eth0" || first.Judgement.Generation != 1 {
		t.Errorf("%+v", first)
	}
}

// Messages that cannot be read are judged by on_error, those that were not seen too.
func TestWhatCannotBeHad(t *testing.T) {
	const text = `
default_action: allow
rules:
  - {name: evil, action: block, layer7: {http: {paths: [/evil]}}}
on_error: {malformed: block, limit: block, not_seen: allow, overload: block}`
	w := newWorld(t, text, nil)
	w.open(80).client("GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n").close()
	w.open(80).client("GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 13000)).close()
	k := w.open(80)
	k.next[0] += 10
	k.client(getEvil)
	k.server(ok)
	k.close()
	again := w.open(80)
	again.client("GET /a HTTP/1.1\r\n")
	again.next[0] -= 5
	again.client("yyy\r\n")
	w.expect("malformed", w.verdict(1), "block error.malformed evil")
	w.expect("limit", w.verdict(2), "block error.limit evil")
	w.expect("a hole", w.verdict(3), "allow error.not_seen evil")
	w.expect("conflict", w.verdict(4), "block error.malformed evil")
	w.expect("records", w.briefs(), `
1 http 0 | block error.malformed evil (there are several Content-Lengths, which differ)
2 http 0 | block error.limit evil (the header section is longer than the limit)
3 http 1.1 GET a.example/evil 200 | allow error.not_seen evil`)
	counts := map[string]uint64{}
	w.Counters(func(c inspector.Counter, n uint64) { counts[c.String()] = n })
	if counts["opened"] != 4 || counts["not_seen"] != 1 || counts["distrusted"] != 1 {
		t.Error(counts)
	}
}

func TestMidstream(t *testing.T) {
	w := newWorld(t, pages, nil)
	w.connect(80, nil).client(getA)
	w.connect(80, func(c *inspector.Connection) { c.Kept = true }).client(getA)
	w.connect(80, func(c *inspector.Connection) { c.Own = true }).client(getA)
	w.expect("verdict", w.verdict(1), "block error.not_seen evil")
	w.expect("kept", w.verdict(2), "allow kept evil")
	w.expect("own", w.verdict(3), "allow safeguard weir:export")
	w.expect("records", w.briefs(), "")
}

func TestHandshakes(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		for _, size := range []int{0, 1} {
			w := newWorld(t, pages, nil)
			k := w.open(443)
			k.size = size
			k.turns(shake(t, "good.example", version)).close()
			k = w.open(443)
			k.turns(shake(t, "bad.example", version)).close()
			subject := map[string]string{"1.2": "CN=good.example", "1.3": ""}[name]
			bad := strings.ReplaceAll(subject, "good", "bad")
			w.expect("records", w.briefs(), fmt.Sprintf(`
1 tls %[1]s good.example %[1]s %[2]s established | allow rule secure
2 tls %[1]s bad.example %[1]s %[3]s established | block default`, name, subject, bad))
			w.expect("verdicts", w.verdict(1)+", "+w.verdict(2), "allow rule secure, block default")
			if last := w.settled[1].Windows; last[0].Wants || last[1].Wants {
				t.Error("there still is something wanted")
			}
		}
	}
}

// What follows CONNECT or STARTTLS is judged anew.
func TestInnerProtocols(t *testing.T) {
	good, bad := shake(t, "good.example", tls.VersionTLS13), shake(t, "bad.example", tls.VersionTLS12)
	for _, size := range []int{0, 1, 7} {
		w := newWorld(t, pages, nil)
		w.settled = map[uint64]inspector.Settlement{}
		connect := func(turns []turn) {
			k := w.open(3128)
			k.size = size
			k.client("CONNECT proxy.example:443 HTTP/1.1\r\nHost: proxy.example:443\r\n\r\n")
			k.server("HTTP/1.1 200 fine\r\n\r\n").turns(turns).close()
		}
		connect(good)
		connect(bad)
		k := w.open(25)
		k.size = size
		k.server("220 mx ESMTP\r\n").client("EHLO a\r\n").server("250-mx\r\n250 STARTTLS\r\n").client("STARTTLS\r\n")
		k.server("220 go\r\n").turns(bad).close()
		w.expect("records", w.briefs(), `
1 http 1.1 CONNECT proxy.example 200 | allow rule pages
1 tls 1.3 good.example 1.3  established | allow rule pages
2 http 1.1 CONNECT proxy.example 200 | allow rule pages
2 tls 1.2 bad.example 1.2 CN=bad.example established | block default
3 tls 1.2 bad.example 1.2 CN=bad.example established | allow rule mail`)
		w.expect("first", w.verdict(1), "allow rule pages")
		w.expect("second", w.verdict(2), "block default")
	}
}

func TestOtherProtocols(t *testing.T) {
	w := newWorld(t, pages, nil)
	w.open(21).server("220 ftp\r\n").client("USER x\r\n").close()
	w.open(22).server("SSH-2.0-OpenSSH_9.6\r\n").client("SSH-2.0-Go\r\n").close()
	w.open(22).client("SSH-2.0-Go\r\n").server("SSH-2.0-dropbear\r\n").close()
	w.open(80).close()
	w.open(9000).client("\x00\x01\x02\x03")
	w.expect("ftp", w.verdict(1), "block default")
	w.expect("good ssh", w.verdict(2), "allow rule shell")
	w.expect("bad ssh", w.verdict(3), "block default")
	w.expect("silence", w.verdict(4), "block default")
	w.expect("bytes", w.verdict(5), "block default")
	w.expect("records", w.briefs(), `
2 ssh 2.0 Go OpenSSH_9.6 | allow rule shell
3 ssh 2.0 Go dropbear | block default`)
}

// ask is a query, or its answer with an address.
func ask(t testing.TB, id uint16, name, addr string) string {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, Response: addr != ""},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	if addr != "" {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(addr).As4()},
		}}
	}
	data, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// datagrams begins a UDP connection.
func (w *world) datagrams(to netip.Addr, port uint16) *talk {
	return w.connect(port, func(c *inspector.Connection) {
		c.Tuple.Protocol, c.Tuple.Destination = packet.UDP, to
	})
}

func (k *talk) datagram(end int, data string) policy.Action {
	k.w.now = k.w.now.Add(time.Millisecond)
	action := k.w.Packet(&k.c, &inspector.Packet{Time: k.w.now, End: end, Payload: []byte(data)})
	k.w.take()
	return action
}

func TestQueries(t *testing.T) {
	w := newWorld(t, pages+`
  - {name: known, action: allow, layer7: {domains: [www.good.example]}}`, nil)
	k := w.datagrams(resolver, 53)
	if a := k.datagram(0, ask(t, 1, "evil.example.", "")); a != policy.Block {
		t.Errorf("%v", a)
	}
	w.expect("one that is blocked", k.verdict(), "pending")
	if a := k.datagram(0, ask(t, 2, "www.good.example.", "")); a != policy.Allow {
		t.Errorf("%v", a)
	}
	w.expect("one that is allowed", k.verdict(), "allow rule names")
	k.datagram(0, ask(t, 3, "evil.example.", ""))
	w.expect("a later one", k.verdict(), "allow rule names")
	k.datagram(1, ask(t, 2, "www.good.example.", hostB.String()))
	w.expect("names", strings.Join(w.Names().Lookup(hostB, w.now), " "), "www.good.example")
	w.now = w.now.Add(time.Minute)
	w.Expire(w.now)
	w.take()
	w.expect("records", w.briefs(), `
1 dns dns udp www.good.example A NOERROR [198.51.100.7] | allow rule names
1 dns dns udp evil.example A  [] | block default
1 dns dns udp evil.example A  [] | block default`)

	w.said = nil
	tcp := w.open(53)
	text := ask(t, 9, "x.good.example.", "")
	answer := ask(t, 9, "x.good.example.", "192.0.2.9")
	tcp.size = 5
	tcp.client(string([]byte{0, byte(len(text))}) + text).server(string([]byte{0, byte(len(answer))}) + answer).close()
	w.expect("over TCP", w.briefs(), "2 dns dns tcp x.good.example A NOERROR [192.0.2.9] | allow rule names")

	w.said = nil
	group := w.datagrams(netip.MustParseAddr("224.0.0.251"), 5353)
	group.datagram(0, ask(t, 0, "printer.good.example.", ""))
	w.expect("mDNS", w.briefs(), "3 dns mdns udp printer.good.example A  [] | allow rule names")
}

// A new policy judges live connections again, by what is known of them.
func TestPolicyChange(t *testing.T) {
	w := newWorld(t, pages, nil)
	web, secure := w.open(80).client(getA), w.open(443).turns(shake(t, "good.example", tls.VersionTLS13))
	w.apply(`
default_action: allow
rules:
  - {name: no-a, action: block, layer7: {http: {paths: [/a]}}}
  - {name: no-old, action: block, layer7: {tls: {versions: ["1.2"]}}}
  - {name: watch, action: block, mode: detect, layer7: {tls: {server_names: [good.example]}}}`)
	w.expect("web", web.verdict(), "block rule no-a")
	w.expect("secure", secure.verdict(), "allow default, shadow block watch")
	web.client(getEvil).server(ok).server(ok)
	w.expect("records", w.briefs(), `
2 tls 1.3 good.example 1.3  established | allow rule secure
1 http 1.1 GET a.example/a 200 ?q=1 x-env=prod | allow rule pages
1 http 1.1 GET a.example/evil 200 | allow default`)
	// Headers of a request before were not kept; of the next they are.
	w.apply(`
default_action: allow
rules:
  - {name: no-key, action: block, layer7: {http: {headers: {x-key: ["*"]}}}}`)
	w.expect("kept", web.verdict(), "block error.not_seen no-key")
	next := w.open(80).client("GET / HTTP/1.1\r\nHost: b\r\nX-Key: 1\r\n\r\n")
	w.expect("next", next.verdict(), "block rule no-key")
}

// Where nobody wants to know more, nothing is read any further.
func TestNothingWanted(t *testing.T) {
	w := newWorld(t, "", func(c *inspector.Config) { c.Report = inspector.Report{} })
	if w.Needed() {
		t.Error("needed without anything to look for")
	}
	k := w.open(80).client(getA)
	if s := w.settled[1]; s.Application != policy.AppHTTP || s.Windows != [2]inspector.Window{} {
		t.Errorf("%+v", s)
	}
	k.server(ok)
	w.expect("records", w.briefs(), "")
	w.apply(pages)
	if !w.Needed() {
		t.Error("not needed with rules")
	}
	w.expect("by a policy to come", k.verdict(), "allow kept evil")
}

// The body of a request of known length need not be seen.
func TestWindows(t *testing.T) {
	w := newWorld(t, "", nil)
	k := w.open(80).client("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
	s := w.settled[1].Windows[0]
	if !s.Wants || !s.Skips || s.Until != k.next[0]+1000000 {
		t.Errorf("%+v", s)
	}
	k.next[0] += 1000000
	k.client(getEvil).server(ok).server(ok).close()
	w.expect("records", w.briefs(), `
1 http 1.1 PUT a/ 200
1 http 1.1 GET a.example/evil 200`)
}

// Bytes are released up to where a request begins that is not judged yet.
func TestJudged(t *testing.T) {
	w := newWorld(t, pages, nil)
	k := w.open(80)
	begin := k.next[0]
	at := func(want uint32) {
		t.Helper()
		if until, how := w.Judged(1, 0); how != inspector.Part || until != want {
			t.Errorf("%d (%v), want %d", until-begin, how, want-begin)
		}
	}
	at(begin)
	k.client(getA[:20])
	at(begin)
	k.client(getA[20:])
	at(k.next[0])
	next := k.next[0]
	k.client("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n")
	at(next)
	k.client("\r\n01234")
	at(k.next[0] + 5)
	if _, how := w.Judged(1, 1); how != inspector.All {
		t.Error("a response is held, of which no rule asks for anything")
	}
}
