package http

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	stdhttp "net/http"
	"strings"
	"testing"
)

// parts are what requests are put together from: what is right, and what makes
// servers disagree.
var parts = struct{ lines, headers, bodies, odd []string }{
	lines: []string{"GET /a HTTP/1.1", "POST /b?c=d HTTP/1.1", "HEAD http://h.example/x HTTP/1.1", "OPTIONS * HTTP/1.1", "PUT / HTTP/1.0", "GET //a/../b HTTP/1.1"},
	headers: []string{
		"Host: h.example", "Host: h.example:80", "host: other", "Content-Length: 5", "Content-Length: 05", "Content-Length: 0", "Content-Length: 5, 5",
		"Content-Length : 5", "Content-Length:5", "Content-Length:\t5", "Content_Length: 3", "Transfer-Encoding: chunked", "Transfer-Encoding: Chunked",
		"Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding:chunked", "X: y", "X:", "X: a\r\n b",
	},
	bodies: []string{"hello", "5\r\nhello\r\n0\r\n\r\n", "5;x\r\nhello\r\n0\r\nX: y\r\n\r\n", "05\r\nhello\r\n00\r\n\r\n", "0\r\n\r\n", "", "5\nhello\n0\n\n"},
	odd:    []string{"\x00", "\r", "\n", " ", "\t", "\v", ":", ",", ";", "0", "x", "\x85", "\xa0", "#", "%", "\\", "+", "-", "\r\n", "\x7f", "[", "@"},
}

// escaped are the characters that net/url writes otherwise in a path.
func escaped(r rune) bool { return r >= 0x80 || strings.ContainsRune("%\"[]\\^`{}|<>#", r) }

// What is taken for a request here is read alike by the standard library, wherever
// that takes it for one: the same request, as long, with the same body.
func TestNoAmbiguity(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	const next = "GET /next HTTP/1.1\r\nHost: next\r\n\r\n"
	accepted, both := 0, 0
	for range 200_000 {
		text := pick(parts.lines) + "\r\n"
		for range random.IntN(4) {
			text += pick(parts.headers) + "\r\n"
		}
		text += "\r\n" + pick(parts.bodies)
		for range random.IntN(3) {
			at := random.IntN(len(text))
			switch odd := pick(parts.odd); random.IntN(3) {
			case 0:
				text = text[:at] + text[at+1:]
			case 1:
				text = text[:at] + odd + text[at+1:]
			default:
				text = text[:at] + odd + text[at:]
			}
		}
		text += next
		var p Parser
		p.Init(&Config{AcceptFolding: random.IntN(2) == 0})
		p.Read(Client, []byte(text))
		m := p.Messages()
		if len(m) < 2 || m[0].Kind != Request || m[0].Reason != None || m[1].Kind != Ended || m[1].Reason != None {
			continue
		}
		accepted++
		// Empty lines before a request, which it does not know, are not about it.
		in := bufio.NewReader(strings.NewReader(text[m[0].Start:]))
		r, err := stdhttp.ReadRequest(in)
		if err != nil {
			continue
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			continue
		}
		both++
		rest, _ := io.ReadAll(in)
		host, _, _ := strings.Cut(r.Host, ":")
		got := fmt.Sprint(m[0].Method, " ", strings.ToLower(m[0].Host), " ", m[0].Path, " ", m[0].Query, " ", m[1].Body, " ", text[m[1].Next:])
		path := r.URL.EscapedPath()
		if r.URL.RawPath != "" || strings.IndexFunc(m[0].Path, escaped) >= 0 {
			path = m[0].Path // written otherwise: internal/policy compares that
		}
		want := fmt.Sprint(r.Method, " ", strings.ToLower(host), " ", path, " ", r.URL.RawQuery, " ", len(body), " ", string(rest))
		if got != want {
			t.Fatalf("%q:\n%q\nnet/http\n%q", text, got, want)
		}
	}
	if both < 20_000 {
		t.Errorf("of %d requests net/http took only %d", accepted, both)
	}
	t.Logf("%d requests taken, %d by net/http too", accepted, both)
}
