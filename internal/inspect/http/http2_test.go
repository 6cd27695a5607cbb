package http

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/weirnet/weir/internal/policy"
)

func TestConversations2(t *testing.T) {
	const closing = "the connection ended before the response"
	for _, c := range []struct {
		name string
		talk func(c, s *writer) []said
		want string
	}{
		{"two streams", func(c, s *writer) []said {
			c.get(1, "/a?b").headers(3, false, ":method: POST", ":scheme: http", ":path: /pkg.Service/Method", ":authority: h.example:81", "te: trailers", "content-type: application/grpc")
			c.data(3, false, "hel").data(3, true, "lo")
			s.headers(3, false, ":status: 200", "content-type: application/grpc").headers(1, true, ":status: 404").data(3, false, "12345").headers(3, true, "grpc-status: 0")
			return []said{client(c.text()), server(s.text())}
		}, `
request 1/1 GET http://h.example/a?b 2
ended 1/1 client 0
request 2/3 POST http://h.example:81/pkg.Service/Method 2
ended 2/3 client 5
response 2/3 200 2
response 1/1 404 2
ended 1/1 server 0
ended 2/3 server 5`},
		{"the server speaks first", func(c, s *writer) []said {
			return []said{server(s.text()), client(c.get(1, "/").text()), server(s.headers(1, true, ":status: 204").text())}
		}, `
request 1/1 GET http://h.example/ 2
ended 1/1 client 0
response 1/1 204 2
ended 1/1 server 0`},
		{"interim responses, trailers of a request", func(c, s *writer) []said {
			c.headers(1, false, ":method: PUT", ":scheme: http", ":path: /", "host: h", "content-length: 2").data(1, false, "hi").headers(1, true, "x: y")
			s.headers(1, false, ":status: 103", "link: x").headers(1, true, ":status: 200")
			return []said{client(c.text()), server(s.text())}
		}, `
request 1/1 PUT http://h/ 2
ended 1/1 client 2
response 1/1 103 2
response 1/1 200 2
ended 1/1 server 0`},
		{"in pieces and padded, with priority", func(c, s *writer) []said {
			block := c.fields(":method: GET", ":scheme: http", ":path: /long", ":authority: h")
			c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:3], EndStream: true, PadLength: 7, Priority: http2.PriorityParam{Weight: 3, StreamDep: 9}})
			c.framer.WriteContinuation(1, false, block[3:5])
			c.framer.WriteContinuation(1, false, nil)
			c.framer.WriteContinuation(1, true, block[5:])
			c.raw(framePriority, 0, 5, "\x00\x00\x00\x03\x01").raw(0xbb, 0xff, 7, "unknown")
			c.framer.WritePing(false, [8]byte{})
			s.headers(1, false, ":status: 200")
			s.framer.WriteDataPadded(1, true, []byte("body"), make([]byte, 9))
			return []said{client(c.text()), server(s.text())}
		}, `
request 1/1 GET http://h/long 2
ended 1/1 client 0
response 1/1 200 2
ended 1/1 server 4`},
		{"reset", func(c, s *writer) []said {
			c.get(1, "/1").get(3, "/3")
			c.framer.WriteRSTStream(1, http2.ErrCodeCancel)
			s.headers(3, false, ":status: 200")
			s.framer.WriteRSTStream(3, http2.ErrCodeInternal)
			return []said{client(c.text()), server(s.text())}
		}, `
request 1/1 GET http://h.example/1 2
ended 1/1 client 0
request 2/3 GET http://h.example/3 2
ended 2/3 client 0
unanswered 1/1 (the stream was reset)
response 2/3 200 2
ended 2/3 server 0 (the stream was reset)`},
		{"going away", func(c, s *writer) []said {
			c.get(1, "/1").get(3, "/3").get(5, "/5")
			s.framer.WriteGoAway(maxStream, http2.ErrCodeNo, nil)
			s.framer.WriteGoAway(1, http2.ErrCodeNo, []byte("shutdown"))
			s.headers(1, true, ":status: 200")
			return []said{client(c.text()), server(s.text())}
		}, `
request 1/1 GET http://h.example/1 2
ended 1/1 client 0
request 2/3 GET http://h.example/3 2
ended 2/3 client 0
request 3/5 GET http://h.example/5 2
ended 3/5 client 0
unanswered 2/3 (the server closed the connection before it took the request)
unanswered 3/5 (the server closed the connection before it took the request)
response 1/1 200 2
ended 1/1 server 0`},
		{"push", func(c, s *writer) []said {
			s.framer.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: s.fields(":method: GET", ":scheme: http", ":path: /style", ":authority: h"), EndHeaders: true})
			s.headers(1, true, ":status: 200").headers(2, false, ":status: 200").data(2, true, "css")
			return []said{client(c.get(1, "/").text()), server(s.text())}
		}, `
request 1/1 GET http://h.example/ 2
ended 1/1 client 0
request 2/2 GET http://h/style 2
response 1/1 200 2
ended 1/1 server 0
response 2/2 200 2
ended 2/2 server 3`},
		{"CONNECT, and with a protocol", func(c, s *writer) []said {
			c.headers(1, false, ":method: CONNECT", ":authority: b.example:443").data(1, false, "\x16\x03")
			c.headers(3, false, ":method: CONNECT", ":protocol: websocket", ":scheme: https", ":path: /chat", ":authority: h")
			s.headers(1, false, ":status: 200").headers(3, false, ":status: 200")
			return []said{client(c.text()), server(s.text())}
		}, `
request 1/1 CONNECT ://b.example:443 2
request 2/3 CONNECT https://h/chat 2
response 1/1 200 2
switched 1/1 0 at [63 19] 
response 2/3 200 2
switched 2/3 1 at [111 29] websocket
ended 1/1 client 2 (the connection ended within the message)
ended 2/3 client 0 (the connection ended within the message)
ended 1/1 server 0 (` + closing + `)
ended 2/3 server 0 (` + closing + `)`},
		{"a length that is not kept", func(c, s *writer) []said {
			c.headers(1, false, ":method: POST", ":scheme: http", ":path: /", ":authority: h", "content-length: 2").data(1, true, "hello")
			s.headers(1, true, ":status: 200", "content-length: 3")
			return []said{client(c.text()), server(s.text())}
		}, `
request 1/1 POST http://h/ 2
ended 1/1 client 5 (the body is not as long as Content-Length says)
response 1/1 200 2
ended 1/1 server 0 (the body is not as long as Content-Length says)`},
		{"a stream again", func(c, s *writer) []said {
			c.get(3, "/3").get(1, "/1").get(3, "/again").get(5, "/5")
			return []said{client(c.text())}
		}, `
request 1/3 GET http://h.example/3 2
ended 1/3 client 0
request 0/1  :// (a request comes on a stream that is or was in use)
request 1/3  :// (a request comes on a stream that is or was in use)
request 2/5 GET http://h.example/5 2
ended 2/5 client 0
unanswered 1/3 (` + closing + `)
unanswered 2/5 (` + closing + `)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(briefs(converse(t, &Config{}, false, c.talk(newWriter(Client), newWriter(Server))...)), "\n")
			got = strings.ReplaceAll(got, " ://  (", " :// (") // of refused requests
			if got != strings.TrimPrefix(c.want, "\n") {
				t.Errorf("got\n%s\nwant%s", got, c.want)
			}
		})
	}
}

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
