package http

import (
	"strings"
	"testing"
)

// benchmark reads the same bytes of both ends again and again, as segments.
func benchmark(b *testing.B, c, s string, segment int) {
	var p Parser
	config := &Config{}
	read := func(end End, text []byte) {
		at := 0
		for to := 0; to < len(text); {
			to = min(to+segment, len(text))
			at += p.Read(end, text[at:to])
		}
		p.Reset()
	}
	ends := [2][]byte{[]byte(c), []byte(s)}
	p.Init(config)
	b.SetBytes(int64(len(c) + len(s)))
	b.ReportAllocs()
	for b.Loop() {
		read(Client, ends[0])
		read(Server, ends[1])
	}
}

const browser = "GET /static/app.js?v=17 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
	"Accept: */*\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\nReferer: http://www.example.com/\r\n" +
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n"

func BenchmarkRequests(b *testing.B) {
	benchmark(b, browser, "HTTP/1.1 304 Not Modified\r\nDate: Sun, 01 Nov 2026 10:00:00 GMT\r\nETag: \"x\"\r\n\r\n", 1460)
}

func BenchmarkBody(b *testing.B) {
	benchmark(b, browser, "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n"+strings.Repeat("x", 1<<20), 1460)
}

func BenchmarkChunked(b *testing.B) {
	benchmark(b, browser, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1000\r\n"+strings.Repeat("x", 4096)+"\r\n", 256)+"0\r\n\r\n", 1460)
}

// BenchmarkTiny has the request come byte by byte.
func BenchmarkTiny(b *testing.B) {
	benchmark(b, browser, "HTTP/1.1 204 No Content\r\n\r\n", 1)
}

// frames runs on one connection of HTTP/2, whose stream numbers go on.
func frames(b *testing.B, each string, reset func(p *Parser)) {
	var p Parser
	p.Init(&Config{})
	p.Read(Client, []byte(newWriter(Client).text()))
	p.Read(Server, []byte(newWriter(Server).text()))
	text := []byte(each)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		reset(&p)
		if p.Read(Client, text) != len(text) || !p.Wants(Client) {
			b.Fatal("not read")
		}
		p.Reset()
	}
}

func BenchmarkFrames(b *testing.B) {
	w := newWriter(Client)
	w.text()
	for range 64 {
		w.data(1, false, strings.Repeat("x", 1024)).raw(frameWindow, 0, 1, "\x00\x00\x10\x00").raw(framePing, 0, 0, "12345678")
	}
	frames(b, w.text(), func(p *Parser) { p.two.last[Client] = 1 })
}

func BenchmarkStreams(b *testing.B) {
	w := newWriter(Client)
	w.text()
	headers := []string{":method: GET", ":scheme: http", ":path: /static/app.js", ":authority: www.example.com", "user-agent: test/1", "accept: */*"}
	w.headers(1, true, headers...)
	w.text()
	// The second time all is in the table.
	fresh := newWriter(Client)
	fresh.text()
	first := fresh.headers(1, true, headers...).text()
	again := w.headers(3, true, headers...).text()
	primed := false
	frames(b, again, func(p *Parser) {
		if !primed {
			p.Read(Client, []byte(first))
			primed = true
		}
		p.two.last[Client] = 1
		clear(p.two.streams)
	})
}

// BenchmarkEvictions is the dearest input there is for the tables of HPACK: each
// two bytes push out an entry.
func BenchmarkEvictions(b *testing.B) {
	w := newWriter(Client)
	w.text()
	w.raw(frameHeaders, flagEndStream|flagEndHeaders, 1, strings.Repeat("\x55\x00", 8000))
	frames(b, w.text(), func(p *Parser) {
		p.two.last[Client] = 0
		clear(p.two.streams)
	})
}

func BenchmarkEvictionsOfTheLargest(b *testing.B) {
	w := newWriter(Client)
	w.text()
	w.raw(frameHeaders, flagEndStream|flagEndHeaders, 1, "\x3f\xe1\x7f"+strings.Repeat("\x55\x00", 8000))
	frames(b, w.text(), func(p *Parser) {
		p.two.sides[Client].decoder.SetAllowedMaxDynamicTableSize(16384)
		p.two.last[Client] = 0
		clear(p.two.streams)
	})
}

func BenchmarkDetect(b *testing.B) {
	text := []byte(browser)
	b.ReportAllocs()
	for b.Loop() {
		if Detect(text) != Yes {
			b.Fatal()
		}
	}
}
