package engine

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

const getsOnly = "mode: prevent\nrules: [{name: reads, action: allow, layer7: {http: {paths: /ok}}}]\n"

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a.example\r\n\r\n" }

const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// answersEach answers every whole request, after a while.
func answersEach(said []byte) (int, []byte) {
	if end := strings.Index(string(said), "\r\n\r\n"); end >= 0 {
		return end + 4, []byte(answer)
	}
	return 0, nil
}

// TestPipelined: of a thousand requests at once those before the first that is
// forbidden are answered; it and what follows are withheld, and the connection ends.
func TestPipelined(t *testing.T) {
	r := newRoad(t, getsOnly, nil)
	for _, at := range []int{0, 1, 500, 999} {
		for _, size := range []int{100, mss} {
			t.Run(fmt.Sprintf("%d allowed, segments of %d", at, size), func(t *testing.T) {
				client, server := r.connect(t, 4, 80)
				server.set(func(p *peer) { p.answers = answersEach })
				all := strings.Repeat(get("/ok"), at) + get("/no") + strings.Repeat(get("/ok"), 999-at)
				allowed := len(get("/ok")) * at
				// A client that has a window of so many bytes. Of more than 128 requests
				// without an answer nobody follows the answers, and the connection ends at
				// once.
				window := min(16*size, 100*len(get("/ok")))
				sent := 0
				until := time.Now().Add(20 * time.Second)
				for last := time.Now(); ; {
					acked := client.acknowledged()
					if sent < acked {
						sent = acked
					}
					got, _ := client.heard()
					answered := strings.Count(got, answer) * len(get("/ok"))
					for sent < len(all) {
						n := min(size, len(all)-sent)
						if sent+n-answered > window {
							break
						}
						client.say(sent, []byte(all[sent:sent+n]))
						sent += n
						last = time.Now()
					}
					if _, reset := client.heard(); reset {
						break
					}
					if time.Since(last) > 100*time.Millisecond {
						sent, last = acked, time.Now() // it sends again
					}
					if time.Now().After(until) {
						said, _ := server.heard()
						t.Fatalf("the connection does not end; %d of %d bytes came, %d answers", len(said), allowed, strings.Count(got, answer))
					}
					time.Sleep(100 * time.Microsecond)
				}
				within(t, "the server's reset", func() bool { _, reset := server.heard(); return reset })
				got, _ := client.heard()
				if n := strings.Count(got, answer); n != at {
					t.Errorf("%d answers, want %d", n, at)
				}
				if said, _ := server.heard(); said != all[:allowed] || server.reached(client) > allowed {
					t.Errorf("%d bytes came, and %d in order, want %d", server.reached(client), len(said), allowed)
				}
			})
		}
	}
}

// TestAnotherContentLater: what was judged and sent on, and never came, cannot be
// replaced.
func TestAnotherContentLater(t *testing.T) {
	r := newRoad(t, getsOnly, nil)
	client, server := r.connect(t, 4, 80)
	server.set(func(p *peer) { p.deaf = true }) // it is as if nothing came
	client.say(0, []byte(get("/ok")))
	within(t, "the request", func() bool { said, _ := server.heard(); return said == get("/ok") })
	client.say(0, []byte(get("/no")))
	client.say(10, []byte(get("/no")))
	client.say(len(get("/ok"))-3, []byte("\r\n"+get("/no")))
	time.Sleep(5 * pause)
	for _, s := range server.wire.sights(server.tuple) {
		if strings.Contains(string(s.payload), "/no") {
			t.Errorf("%q came", s.payload)
		}
	}
	// The same again may pass: it was lost.
	seen := len(server.wire.sights(server.tuple))
	client.say(0, []byte(get("/ok")))
	within(t, "the request again", func() bool { return len(server.wire.sights(server.tuple)) > seen })
}

// TestSmuggled: requests that two servers may cut apart in different ways are
// malformed: on_error answers.
func TestSmuggled(t *testing.T) {
	r := newRoad(t, getsOnly, nil)
	for name, text := range map[string]string{
		"length and chunks":   "GET /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /no HTTP/1.1\r\n\r\n",
		"two lengths":         "GET /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 30\r\n\r\n" + get("/no"),
		"a space and a colon": "GET /ok HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc" + get("/no"),
		"an obscure coding":   "GET /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + get("/no"),
		"a folded header":     "GET /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + get("/no"),
		"a bare line feed":    "GET /ok HTTP/1.1\nHost: a\r\nContent-Length: 3\n\nabc" + get("/no"),
		"a NUL":               "GET /ok\x00/no HTTP/1.1\r\nHost: a\r\n\r\n",
		"an encoded slash":    "GET /ok%2f..%2fno HTTP/1.1\r\nHost: a\r\n\r\n",
		"a backslash":         "GET /ok\\..\\no HTTP/1.1\r\nHost: a\r\n\r\n",
		"two hosts":           "GET /ok HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"HTTP/0.9":            "GET /no\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			client, server := r.connect(t, 4, 80)
			client.say(0, []byte(text))
			time.Sleep(2 * pause)
			for _, s := range server.wire.sights(server.tuple) {
				if strings.Contains(string(s.payload), "/no") {
					t.Errorf("%q came", s.payload)
				}
			}
		})
	}
}

// TestServerSpeaksFirst: what is none of a rule's business is not waited for: banners
// come at once, connections that stay silent stay open.
func TestServerSpeaksFirst(t *testing.T) {
	const held = 3 * time.Second // at most
	r := newRoad(t, `
mode: prevent
rules:
  - {name: no-secrets, action: block, layer7: {http: {paths: /no}}}
  - {name: no-old-tls, action: block, layer7: {tls: {versions: "1.0"}}}
  - {name: rest, action: allow}
`, func(c *Config) { c.Inspect.MaxWait = held })
	for name, lines := range map[string][]string{
		"SMTP":   {"220 mail.example ESMTP\r\n", "EHLO me\r\n", "250-mail.example\r\n250 SIZE\r\n", "MAIL FROM:<a@b>\r\n"},
		"MySQL":  {"\x4a\x00\x00\x00\x0a8.0.36\x00" + strings.Repeat("\x01", 67), "\x20\x00\x00\x01" + strings.Repeat("\x02", 32), "\x07\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00"},
		"FTP":    {"220 ready\r\n", "USER me\r\n", "331 password\r\n"},
		"silent": {""},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := r.connect(t, 4, 4000)
			ends := []*peer{server, client}
			var said [2]string
			for i, line := range lines {
				from, to := i%2, (i+1)%2
				began := time.Now()
				ends[from].say(len(said[from]), []byte(line))
				said[from] += line
				within(t, fmt.Sprintf("%q", line), func() bool { got, _ := ends[to].heard(); return got == said[from] })
				if took := time.Since(began); took > held-500*time.Millisecond {
					t.Errorf("%q took %v", line, took)
				}
			}
			time.Sleep(held + 200*time.Millisecond)
			client.say(len(said[1]), []byte("QUIT\r\n"))
			within(t, "what comes late", func() bool { got, _ := server.heard(); return got == said[1]+"QUIT\r\n" })
			if _, reset := client.heard(); reset {
				t.Error("it was cut")
			}
		})
	}
}

// TestQueriesOfASocket: a query over UDP that is forbidden is dropped; others of the
// same socket pass.
func TestQueriesOfASocket(t *testing.T) {
	r := newRoad(t, "mode: prevent\nrules: [{name: names, action: allow, layer7: {dns: {names: .good.example, types: A}}}]\n", nil)
	for _, version := range []int{4, 6} {
		tuple := r.tuple(version, packet.UDP, 53)
		ask := func(text string) { r.client.send(ipPacket(tuple, udpDatagram(tuple, []byte(text)))) }
		want := ""
		for i := range uint16(20) {
			good := query(i, fmt.Sprintf("n%d.good.example", i), 1)
			want += good
			ask(query(i+100, "x.evil.example", 1))
			ask(good)
			ask(query(i+200, "n.good.example", 16))
		}
		came := func() (all string) {
			for _, s := range r.server.sights(tuple.Reversed()) {
				all += string(s.payload)
			}
			return all
		}
		within(t, "the queries", func() bool { return len(came()) >= len(want) })
		time.Sleep(pause)
		if got := came(); got != want {
			t.Errorf("IPv%d: %q came", version, got)
		}
	}
	within(t, "the records", func() bool {
		r.told.mu.Lock()
		defer r.told.mu.Unlock()
		n := 0
		for i := range r.told.said {
			if r.told.said[i].Judgement.Verdict.String() == "blocked" {
				n++
			}
		}
		return n == 80
	})
}

// TestInbound: the same of a server of this host, whose stack takes what a stack
// takes.
func TestInbound(t *testing.T) {
	r := newRoad(t, getsOnly, nil)
	for _, version := range []int{4, 6} {
		l, err := net.Listen(fmt.Sprintf("tcp%d", version), net.JoinHostPort(hereOfClient[version].String(), "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for _, s := range shapes {
			if s.opens {
				continue // TCP Fast Open is off
			}
			for _, path := range []string{"/ok", "/no"} {
				t.Run(fmt.Sprintf("%s IPv%d %s", s.name, version, path), func(t *testing.T) {
					tuple := r.tuple(version, packet.TCP, uint16(l.Addr().(*net.TCPAddr).Port))
					tuple.Destination = hereOfClient[version]
					client := newPeer(r.client, tuple, 0xfffffff0)
					client.segment(packet.SYN, client.begin, nil)
					c, err := l.Accept()
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					within(t, "a handshake", func() bool { client.mu.Lock(); defer client.mu.Unlock(); return client.next != 0 })
					undecided := func() {
						t.Helper()
						c.SetReadDeadline(time.Now().Add(pause))
						if n, _ := c.Read(make([]byte, 100)); n > 0 {
							t.Errorf("%d bytes came before the verdict", n)
						}
					}
					other := map[string]string{"/ok": "/no", "/no": "/ok"}[path]
					s.send(client, []byte(get(path)), []byte(get(other)), undecided)
					isBlocked := path == "/no" || s.fails
					if isBlocked && s.silent {
						undecided()
						return
					}
					c.SetReadDeadline(time.Now().Add(5 * time.Second))
					got := make([]byte, len(get(path)))
					n, err := io.ReadFull(c, got)
					switch {
					case isBlocked && (n > 0 || err == nil || strings.Contains(err.Error(), "timeout")):
						t.Errorf("%q came: %v", got[:n], err)
					case !isBlocked && string(got) != get(path):
						t.Errorf("%q came: %v", got[:n], err)
					}
				})
			}
		}
	}
}
