package http

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// FuzzParser feeds both ends, whole and in pieces: what is told must not depend on
// how the bytes came, places must lie in the stream, and what is kept is bounded.
func FuzzParser(f *testing.F) {
	const get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
	one, other := newWriter(Client), newWriter(Server)
	two := one.get(1, "/").headers(3, false, ":method: CONNECT", ":authority: b:1").data(3, true, "x").text()
	answers := other.headers(1, false, ":status: 200").data(1, true, "x").headers(3, false, ":status: 200").text()
	f.Add(get+get, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 204 x\r\n\r\n", uint8(3))
	f.Add("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nX: y\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nabc", uint8(1))
	f.Add("CONNECT a:1 HTTP/1.1\r\n\r\n"+get, "HTTP/1.1 200 OK\r\n\r\nabc", uint8(7))
	f.Add("GET / HTTP/1.1\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAAAA\r\n\r\n"+two, "HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n"+answers, uint8(9))
	f.Add(two, answers, uint8(5))
	config := &Config{Headers: []string{"x", "host"}, Limits: Limits{HeaderBytes: 512, Headers: 8, Pending: 3, Streams: 3, Continuations: 4, TableBytes: 8192}}
	f.Fuzz(func(t *testing.T, c, s string, size uint8) {
		run := func(piece int) []Message {
			var d driver
			d.p.Init(config)
			// All of the client first: else what is told depends on who is ahead.
			for _, part := range []said{client(c), server(s)} {
				for text := []byte(part.text); len(text) > 0; {
					n := min(piece, len(text))
					d.say(part.end, text[:n])
					text = text[n:]
					for e := range d.kept {
						if side := &d.p.sides[e]; d.p.Undecided(End(e)) > side.at {
							t.Fatal("undecided beyond what was read")
						}
					}
				}
			}
			d.close()
			if d.p.pending.length() > 3 || d.p.two != nil && len(d.p.two.streams) > 3 {
				t.Fatal("more is kept than the limits allow")
			}
			return d.messages
		}
		whole := run(1 << 30)
		for i := range whole {
			m := &whole[i]
			sent := uint64(len(c))
			if m.End == Server {
				sent = uint64(len(s))
			}
			if m.Start > sent || m.HeadEnd > sent || m.Kind == Request && m.Start >= m.HeadEnd {
				t.Fatalf("%s lies from %d to %d of %d", brief(m), m.Start, m.HeadEnd, sent)
			}
		}
		for _, piece := range []int{1, int(size)%61 + 2} {
			got := run(piece)
			if a, b := byEnd(whole), byEnd(got); a != b {
				t.Fatalf("in pieces of %d\n%s\nwhole\n%s", piece, strings.Join(briefs(got), "\n"), strings.Join(briefs(whole), "\n"))
			}
		}
		exchanges := []string{}
		for i := range whole {
			if m := &whole[i]; m.Kind == Unanswered || m.Kind == Response && m.Status >= 200 && m.Exchange != 0 {
				exchanges = append(exchanges, fmt.Sprint(m.Exchange))
			}
		}
		slices.Sort(exchanges)
		if len(slices.Compact(slices.Clone(exchanges))) != len(exchanges) {
			t.Fatalf("answered twice:\n%s", strings.Join(briefs(whole), "\n"))
		}
	})
}
