package http

import (
	"strings"
	"testing"
)

func TestConversations(t *testing.T) {
	const get, ok = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
	const closing = "the connection ended before the response"
	for _, c := range []struct {
		name string
		said []said
		want string
	}{
		{"one request", []said{client(get), server(ok)}, `
request 1 GET http://h/a 1.1
ended 1 client 0
response 1 200 1.1
ended 1 server 2`},
		{"pipelined", []said{client(get + "HEAD /b HTTP/1.1\r\nHost: h\r\n\r\n" + get), server(ok + "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + ok)}, `
request 1 GET http://h/a 1.1
ended 1 client 0
request 2 HEAD http://h/b 1.1
ended 2 client 0
request 3 GET http://h/a 1.1
ended 3 client 0
response 1 200 1.1
ended 1 server 2
response 2 200 1.1
ended 2 server 0
response 3 200 1.1
ended 3 server 2`},
		{"empty lines before", []said{client("\r\n\n\r\n" + get), server("\r\n" + ok)}, `
request 1 GET http://h/a 1.1
ended 1 client 0
response 1 200 1.1
ended 1 server 2`},
		{"LF alone", []said{client("GET /a?b=c HTTP/1.0\nHost: h:8080\n\n"), server("HTTP/1.0 404\nContent-Length: 1\n\nx")}, `
request 1 GET http://h:8080/a?b=c 1.0
ended 1 client 0
response 1 404 1.0
ended 1 server 1`},
		{"chunked both ways, with trailers", []said{
			client("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n00\r\nX: y\r\n\r\n" + get),
			server("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\nA \t;x\r\n0123456789\r\n0\r\n\r\n" + ok),
		}, `
request 1 POST http://h/ 1.1
ended 1 client 5
request 2 GET http://h/a 1.1
ended 2 client 0
response 1 200 1.1
ended 1 server 10
response 2 200 1.1
ended 2 server 2`},
		{"a body with a length twice, and the same", []said{client("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nGET" + get), server(ok + ok)}, `
request 1 POST http:/// 1.1
ended 1 client 3
request 2 GET http://h/a 1.1
ended 2 client 0
response 1 200 1.1
ended 1 server 2
response 2 200 1.1
ended 2 server 2`},
		{"100-continue", []said{
			client("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
			server("HTTP/1.1 100 Continue\r\n\r\n"), client("hi"), server("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n"),
		}, `
request 1 POST http://h/ 1.1
response 1 100 1.1
ended 1 client 2
response 1 103 1.1
response 1 204 1.1
ended 1 server 0`},
		{"a body until the end", []said{client("GET / HTTP/1.0\r\n\r\n"), server("HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 500 no\r\n\r\n")}, `
request 1 GET http:/// 1.0
ended 1 client 0
response 1 200 1.0
ended 1 server 19`},
		{"304 with a length", []said{client(get + get), server("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n" + ok)}, `
request 1 GET http://h/a 1.1
ended 1 client 0
request 2 GET http://h/a 1.1
ended 2 client 0
response 1 304 1.1
ended 1 server 0
response 2 200 1.1
ended 2 server 2`},
		{"CONNECT", []said{client("CONNECT b.example:443 HTTP/1.1\r\nHost: b.example\r\n\r\n"), server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nSSH-"), client("\x16\x03")}, `
request 1 CONNECT ://b.example:443 1.1
ended 1 client 0
response 1 200 1.1
ended 1 server 0
switched 1 0 at [51 38] `},
		{"CONNECT, whose client does not wait", []said{client("CONNECT b:443 HTTP/1.1\r\n\r\nGET / HTTP/9\r\n\r\n"), server("HTTP/1.1 200 OK\r\n\r\n")}, `
request 1 CONNECT ://b:443 1.1
ended 1 client 0
response 1 200 1.1
ended 1 server 0
switched 1 0 at [26 19] `},
		{"CONNECT refused", []said{client("CONNECT b:443 HTTP/1.1\r\n\r\n" + get), server("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n" + ok)}, `
request 1 CONNECT ://b:443 1.1
ended 1 client 0
response 1 407 1.1
ended 1 server 0
request 2 GET http://h/a 1.1
ended 2 client 0
response 2 200 1.1
ended 2 server 2`},
		{"websocket", []said{client("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), server("HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\n\r\n\x81"), client("\x81\x82")}, `
request 1 GET http://h/ws 1.1
ended 1 client 0
response 1 101 1.1
switched 1 1 at [70 46] WebSocket`},
		{"upgrade with a body, answered early", []said{
			client("POST / HTTP/1.1\r\nHost: h\r\nUpgrade: foo/1\r\nContent-Length: 4\r\n\r\nab"), server("HTTP/1.1 101 Switching\r\nUpgrade: foo/1\r\n\r\n"), client("cdXYZ"),
		}, `
request 1 POST http://h/ 1.1
response 1 101 1.1
ended 1 client 4
switched 1 4 at [67 42] foo/1`},
		{"an upgrade that the server ignores", []said{client("GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n" + get), server(ok + ok)}, `
request 1 GET http://h/a 1.1
ended 1 client 0
response 1 200 1.1
request 2 GET http://h/a 1.1
ended 2 client 0
ended 1 server 2
response 2 200 1.1
ended 2 server 2`},
		{"101 that nobody offered", []said{client(get), server("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"), client("x y z\r\n")}, `
request 1 GET http://h/a 1.1
ended 1 client 0
response 1 101 1.1 (the server switched protocols, which the client had not offered)
broken 0 1 from 0 (the server switched protocols, which the client had not offered)
unanswered 1 (the server switched protocols, which the client had not offered)
broken 0 0 from 28 (the version is not HTTP/1.0 or HTTP/1.1)`},
		{"a URL as target", []said{client("GET HTTP://u:p@h.example:81?q#f HTTP/1.1\r\nHost: h.EXAMPLE.:81\r\n\r\n")}, `
request 1 GET http://h.example:81?q#f 1.1
ended 1 client 0
unanswered 1 (` + closing + `)`},
		{"a URL for another host", []said{client("GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n")}, `
request 1 GET http:/// 1.1 (the target and the header Host name different hosts)
ended 1 client 0
unanswered 1 (` + closing + `)`},
		{"OPTIONS *", []said{client("OPTIONS * HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n")}, `
request 1 OPTIONS http://2001:db8::1:80* 1.1
ended 1 client 0
unanswered 1 (` + closing + `)`},
		{"a host that is a list", []said{client("GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n")}, `
request 1 GET http:/// 1.1 (the host is not a name or an address with or without a port)
ended 1 client 0
unanswered 1 (` + closing + `)`},
		{"a path that is encoded twice", []said{client("GET /%252e HTTP/1.1\r\nHost: h\r\n\r\n")}, `
request 1 GET http://h/%252e 1.1 (the target is not one that the method can have, or has characters that targets have not)
ended 1 client 0
unanswered 1 (` + closing + `)`},
		{"a response with both lengths", []said{client(get + get), server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi")}, `
request 1 GET http://h/a 1.1
ended 1 client 0
request 2 GET http://h/a 1.1
ended 2 client 0
response 1 200 1.1 (there are both Content-Length and Transfer-Encoding)
broken 0 1 from 0 (there are both Content-Length and Transfer-Encoding)
unanswered 2 (there are both Content-Length and Transfer-Encoding)`},
		{"a response that is cut", []said{client(get), server("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi")}, `
request 1 GET http://h/a 1.1
ended 1 client 0
response 1 200 1.1
ended 1 server 2 (the connection ended within the message)`},
		{"no response", []said{client(get + get), server(ok)}, `
request 1 GET http://h/a 1.1
ended 1 client 0
request 2 GET http://h/a 1.1
ended 2 client 0
response 1 200 1.1
ended 1 server 2
unanswered 2 (` + closing + `)`},
		{"a response to nothing", []said{server("HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n")}, `
response 0 408 1.1
ended 0 server 0`},
		{"folded response headers", []said{client(get), server("HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n")}, `
request 1 GET http://h/a 1.1
ended 1 client 0
response 1 200 1.1
ended 1 server 0`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(briefs(converse(t, &Config{}, false, c.said...)), "\n")
			if got != strings.TrimPrefix(c.want, "\n") {
				t.Errorf("got\n%s\nwant%s", got, c.want)
			}
		})
	}
}
