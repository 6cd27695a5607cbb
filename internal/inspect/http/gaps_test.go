package http

import (
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

func TestGaps(t *testing.T) {
	const get, ok = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
	t.Run("within a body", func(t *testing.T) {
		d := feed(&Config{}, client(get+get), server(ok+"01"))
		if d.p.Skip(Server) != 8 {
			t.Fatal(d.p.Skip(Server))
		}
		d.p.Gap(Server, 3)
		d.say(Server, []byte("56789"+ok+"0123456789"))
		expectBriefs(t, d.messages[6:], "response 2 200 1.1\nended 2 server 10")
		if m := d.messages[6]; m.Start != 49 || m.Next != 98 || !m.NextKnown {
			t.Error(m.Start, m.Next)
		}
	})
	t.Run("a whole body", func(t *testing.T) {
		d := feed(&Config{}, client(get), server(ok))
		d.p.Gap(Server, 10)
		d.take()
		expectBriefs(t, d.messages[3:], "ended 1 server 10")
	})
	t.Run("beyond a body", func(t *testing.T) {
		d := feed(&Config{}, client(get+get), server(ok))
		d.p.Gap(Server, 11)
		d.take()
		expectBriefs(t, d.messages[5:], "broken 0 1 from 39 (bytes were not seen)\nunanswered 2 (bytes were not seen)")
	})
	t.Run("of an unknown number", func(t *testing.T) {
		d := feed(&Config{}, client("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n"))
		d.p.Gap(Client, 0)
		d.take()
		m := d.messages[1]
		if m.Kind != Broken || m.Facts.Host != policy.Lost[string](policy.NotSeen) || d.p.Wants(Client) {
			t.Error(brief(&m), m.Facts)
		}
	})
	t.Run("within a head", func(t *testing.T) {
		d := feed(&Config{}, client("GET / HT"))
		d.p.Gap(Client, 5)
		d.take()
		expectBriefs(t, d.messages, "broken 0 0 from 0 (bytes were not seen)")
	})
	t.Run("before anything", func(t *testing.T) {
		var d driver
		d.p.Gap(Client, 0)
		d.say(Server, []byte("\x00\x00\x00\x04"))
		d.close()
		expectBriefs(t, d.messages, "broken 0 0 from 0 (bytes were not seen)\nbroken 0 1 from 0 (the connection ended within the message)")
	})
	t.Run("within data", func(t *testing.T) {
		w := newWriter(Client)
		text := w.headers(1, false, ":method: PUT", ":scheme: http", ":path: /", ":authority: h").data(1, true, "0123456789").get(3, "/3").text()
		at := strings.Index(text, "0123")
		d := feed(&Config{}, client(text[:at+2]))
		if d.p.Skip(Client) != 8 {
			t.Fatal(d.p.Skip(Client))
		}
		d.p.Gap(Client, 8)
		d.say(Client, []byte(text[at+10:]))
		expectBriefs(t, d.messages, "request 1/1 PUT http://h/ 2\nended 1/1 client 10\nrequest 2/3 GET http://h.example/3 2\nended 2/3 client 0")
	})
	t.Run("within frames", func(t *testing.T) {
		d := feed(&Config{}, client(newWriter(Client).text()))
		d.p.Gap(Client, 8)
		d.take()
		expectBriefs(t, d.messages, "broken 0 0 from 33 (bytes were not seen)")
	})
}
