package http

import (
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

// A request that RFC 9113 calls malformed costs its own facts, not those of the
// next.
func TestMalformedRequests2(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []string
		want    Reason
		host    bool // only the host is lost
	}{
		{"no method", []string{":scheme: http", ":path: /"}, PseudoHeader, false},
		{"no scheme", []string{":method: GET", ":path: /"}, PseudoHeader, false},
		{"no path", []string{":method: GET", ":scheme: http"}, PseudoHeader, false},
		{"an empty path", []string{":method: GET", ":scheme: http", ":path: "}, PseudoHeader, false},
		{"a relative path", []string{":method: GET", ":scheme: http", ":path: a"}, PseudoHeader, false},
		{"an asterisk", []string{":method: GET", ":scheme: http", ":path: *"}, PseudoHeader, false},
		{"a space in the path", []string{":method: GET", ":scheme: http", ":path: / HTTP/1.1"}, PseudoHeader, false},
		{"a space in the method", []string{":method: GET /x", ":scheme: http", ":path: /"}, PseudoHeader, false},
		{"path twice", []string{":method: GET", ":scheme: http", ":path: /", ":path: /b"}, PseudoHeader, false},
		{"status", []string{":method: GET", ":scheme: http", ":path: /", ":status: 200"}, PseudoHeader, false},
		{"unknown", []string{":method: GET", ":scheme: http", ":path: /", ":host: a"}, PseudoHeader, false},
		{"behind a header", []string{":method: GET", ":scheme: http", "x: y", ":path: /"}, PseudoHeader, false},
		{"CONNECT with a path", []string{":method: CONNECT", ":path: /", ":authority: a:1"}, PseudoHeader, false},
		{"CONNECT to nowhere", []string{":method: CONNECT"}, PseudoHeader, false},
		{"protocol without CONNECT", []string{":method: GET", ":scheme: http", ":path: /", ":protocol: x"}, PseudoHeader, false},
		{"a capital", []string{":method: GET", ":scheme: http", ":path: /", "X: y"}, HeaderName, false},
		{"a space in a name", []string{":method: GET", ":scheme: http", ":path: /", "x y: z"}, HeaderName, false},
		{"a line break", []string{":method: GET", ":scheme: http", ":path: /", "x: y\r\nhost: b"}, BareCR, false},
		{"LF", []string{":method: GET", ":scheme: http", ":path: /", "x: y\nhost: b"}, Control, false},
		{"NUL", []string{":method: GET", ":scheme: http", ":path: /", "x: \x00"}, NUL, false},
		{"a space before", []string{":method: GET", ":scheme: http", ":path: /", "x:  y"}, WhiteSpace, false},
		{"connection", []string{":method: GET", ":scheme: http", ":path: /", "connection: close"}, ConnectionHeader, false},
		{"transfer-encoding", []string{":method: GET", ":scheme: http", ":path: /", "transfer-encoding: chunked"}, ConnectionHeader, false},
		{"upgrade", []string{":method: GET", ":scheme: http", ":path: /", "upgrade: x"}, ConnectionHeader, false},
		{"te", []string{":method: GET", ":scheme: http", ":path: /", "te: gzip"}, ConnectionHeader, false},
		{"two hosts", []string{":method: GET", ":scheme: http", ":path: /", "host: a", "host: b"}, DuplicateHeader, false},
		{"a wrong length", []string{":method: GET", ":scheme: http", ":path: /", "content-length: +5"}, ContentLength, false},
		{"lengths", []string{":method: GET", ":scheme: http", ":path: /", "content-length: 5", "content-length: 6"}, DifferingLengths, false},
		{"other host", []string{":method: GET", ":scheme: http", ":path: /", ":authority: a", "host: b"}, HostMismatch, true},
		{"user", []string{":method: GET", ":scheme: http", ":path: /", ":authority: a@b"}, HostValue, true},
		{"many headers", append([]string{":method: GET", ":scheme: http", ":path: /"}, strings.Split(strings.Repeat("x: y,", 300), ",")[:300]...), TooManyHeaders, false},
		{"a bomb", append([]string{":method: GET", ":scheme: http", ":path: /", "x: " + strings.Repeat("x", 3000)}, strings.Split(strings.Repeat("x: "+strings.Repeat("x", 3000)+",", 200), ",")[:200]...), TooManyHeaderBytes, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWriter(Client)
			messages := converse(t, &Config{}, len(c.headers) > 100, client(w.headers(1, true, c.headers...).get(3, "/next").text()))
			m := &messages[0]
			if m.Kind != Request || m.Reason != c.want {
				t.Fatalf("%s, want %v", strings.Join(briefs(messages), "\n"), c.want)
			}
			lost := policy.Lost[string](c.want.Cause())
			if m.Facts.Host != lost || (m.Facts.Path == lost) == c.host || (m.Facts.Method == lost) == c.host {
				t.Errorf("%+v", m.Facts)
			}
			next := false
			for i := range messages {
				next = next || messages[i].Stream == 3 && messages[i].Facts.Path == policy.Is("/next") && messages[i].Facts.Host == policy.Is("h.example")
			}
			if !next {
				t.Error(strings.Join(briefs(messages), "\n"))
			}
		})
	}
}

// What makes the frames themselves unreadable costs the rest of the end's stream.
func TestBroken2(t *testing.T) {
	flood := func(c *writer) {
		c.raw(frameHeaders, 0, 1, "")
		for range 40 {
			c.raw(frameContinuation, 0, 1, "")
		}
	}
	for _, c := range []struct {
		name  string
		write func(c *writer)
		want  Reason
	}{
		{"another first frame", func(c *writer) { c.buffer.Reset(); c.buffer.WriteString(preface); c.get(1, "/") }, Preface},
		{"continuation of nothing", func(c *writer) { c.raw(frameContinuation, flagEndHeaders, 1, "") }, FrameType},
		{"continuation of another stream", func(c *writer) { c.raw(frameHeaders, 0, 1, "\x82").raw(frameContinuation, 4, 3, "\x84") }, FrameType},
		{"data within headers", func(c *writer) { c.raw(frameHeaders, 0, 1, "\x82").data(1, true, "x") }, FrameType},
		{"a client's promise", func(c *writer) { c.raw(framePush, 4, 1, "\x00\x00\x00\x02\x82") }, FrameType},
		{"a stream of the server", func(c *writer) { c.get(2, "/") }, FrameStream},
		{"data on a stream that nobody opened", func(c *writer) { c.data(1, true, "x") }, FrameStream},
		{"a bad index", func(c *writer) { c.raw(frameHeaders, 5, 1, "\xff\xff\xff\x0f") }, HeaderCompression},
		{"an index of 0", func(c *writer) { c.raw(frameHeaders, 5, 1, "\x80") }, HeaderCompression},
		{"a cut field", func(c *writer) { c.raw(frameHeaders, 5, 1, "\x40\x05abc") }, HeaderCompression},
		{"bad Huffman", func(c *writer) { c.raw(frameHeaders, 5, 1, "\x40\x81\xff\x01x") }, HeaderCompression},
		{"a table that was not allowed", func(c *writer) { c.raw(frameHeaders, 5, 1, "\x3f\xe2\x1f\x82") }, HeaderCompression},
		{"a string beyond the limit", func(c *writer) {
			c.raw(frameHeaders, 1, 1, "\x40\x7f\x81\x80\x01"+strings.Repeat("a", 16000)).raw(frameContinuation, 4, 1, "a")
		}, TableSize},
		{"many continuations", flood, TooManyContinuations},
		{"a section without end", func(c *writer) {
			for i := range 7 {
				kind := frameContinuation
				if i == 0 {
					kind = frameHeaders
				}
				c.raw(kind, 0, 1, strings.Repeat("\x82", 16000))
			}
		}, TooManyHeaderBytes},
		{"a window of 0", func(c *writer) { c.raw(frameWindow, 0, 0, "\x00\x00\x00\x00") }, FrameValue},
		{"a frame size of 1", func(c *writer) { c.raw(frameSettings, 0, 0, "\x00\x05\x00\x00\x00\x01") }, FrameValue},
		{"a frame that is too large", func(c *writer) { c.raw(0xbb, 0, 0, strings.Repeat("x", 16385)) }, FrameSize},
		{"cut in headers", func(c *writer) { c.raw(frameHeaders, 0, 1, "\x82") }, Truncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWriter(Client)
			w.text()
			w.buffer.WriteString(preface)
			w.framer.WriteSettings()
			c.write(w)
			text := w.text()
			var last Message
			for _, m := range converse(t, &Config{}, len(text) > 1000, client(text)) {
				if m.Kind == Broken {
					last = m
				}
			}
			if last.Reason != c.want || last.Facts.Path != policy.Lost[string](c.want.Cause()) {
				t.Errorf("%s, want %v", brief(&last), c.want)
			}
		})
	}
}
