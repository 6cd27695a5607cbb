package http

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
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
