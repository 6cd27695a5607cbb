package http_test

import (
	"fmt"

	"github.com/weirnet/weir/internal/inspect/http"
)

// A connection is read end by end; each message says where in its end's stream it
// lies, and a response which request it answers.
func ExampleParser() {
	var p http.Parser
	p.Init(&http.Config{Headers: []string{"x-env"}})
	p.Read(http.Client, []byte("POST /orders?id=7 HTTP/1.1\r\nHost: shop.example:8080\r\nX-Env: prod\r\nContent-Length: 2\r\n\r\nhi"))
	p.Read(http.Server, []byte("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"))
	for _, m := range p.Messages() {
		switch m.Kind {
		case http.Request:
			fmt.Println(m.Exchange, m.Method, m.Facts.Host.Value, m.Port, m.Facts.Path.Value, m.Query, m.Facts.Headers.Value, m.Start, m.HeadEnd, m.Next)
		case http.Response:
			fmt.Println(m.Exchange, m.Status)
		}
	}
	// Output:
	// 1 POST shop.example 8080 /orders id=7 map[x-env:[prod]] 0 87 89
	// 1 201
}

// A request that servers read differently is malformed, and so is all behind it.
func ExampleReason() {
	var p http.Parser
	p.Read(http.Client, []byte("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX"))
	m := p.Messages()[0]
	fmt.Printf("%v from byte %d: %v (%v)\n", m.Kind, m.Start, m.Reason, m.Facts.Path.Cause)
	// Output:
	// broken from byte 0: there are both Content-Length and Transfer-Encoding (malformed)
}

func ExampleDetect() {
	for _, first := range []string{"GET / HTTP/1.1\r\n", "SSH-2.0-x\r\n", "PO"} {
		fmt.Println(http.Detect([]byte(first)) == http.Yes, http.Detect([]byte(first)) == http.More)
	}
	// Output:
	// true false
	// false false
	// false true
}
