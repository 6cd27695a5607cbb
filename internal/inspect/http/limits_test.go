package http

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/weirnet/weir/internal/policy"
)

// feed reads everything, with the client first.
func feed(c *Config, all ...said) *driver {
	d := &driver{}
	d.p.Init(c)
	for _, s := range all {
		d.say(s.end, []byte(s.text))
	}
	return d
}

func expectBriefs(t *testing.T, messages []Message, want string) {
	t.Helper()
	if got := strings.Join(briefs(messages), "\n"); got != strings.TrimPrefix(want, "\n") {
		t.Errorf("got\n%s\nwant%s", got, want)
	}
}

func TestTooManyHeaders(t *testing.T) {
	text := "POST /a HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: y\r\n", 9) + "Content-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\n\r\n"
	d := feed(&Config{Limits: Limits{Headers: 10}}, client(text))
	if m := d.messages[0]; m.Reason != TooManyHeaders || m.Facts.Path != policy.Lost[string](policy.Limit) {
		t.Error(brief(&m), m.Facts)
	}
	if m := d.messages[2]; m.Kind != Request || m.Facts.Path != policy.Is("/b") {
		t.Error("does not go on behind it:", brief(&m))
	}
}

func TestTooManyPending(t *testing.T) {
	get := "GET /%d HTTP/1.1\r\n\r\n"
	d := feed(&Config{Limits: Limits{Pending: 2}},
		client(fmt.Sprintf(get+get+get, 1, 2, 3)), server("HTTP/1.1 200 OK\r\n\r\n"), client("CONNECT a:1 HTTP/1.1\r\n\r\nx"))
	const why = " (more requests wait for their responses than the limit)"
	expectBriefs(t, d.messages, `
request 1 GET http:///1 1.1
ended 1 client 0
request 2 GET http:///2 1.1
ended 2 client 0
request 3 GET http:///3 1.1
broken 0 1 from 0`+why+`
unanswered 1`+why+`
unanswered 2`+why+`
unanswered 3`+why+`
ended 3 client 0
request 4 CONNECT ://a:1 1.1
unanswered 4`+why+`
ended 4 client 0
broken 0 0 from 81 (the answer was not seen that says which protocol follows)`)
	if d.p.Wants(Server) || d.p.Wants(Client) || d.p.Skip(Client) != math.MaxUint64 {
		t.Error("wants more")
	}
}

func TestManyStreams(t *testing.T) {
	w := newWriter(Client)
	var d driver
	d.p.Init(&Config{})
	const streams = 10000
	for i := range uint32(streams) {
		w.get(2*i+1, "/")
		d.say(Client, []byte(w.text()))
	}
	// Trailers of a stream that is not followed are not taken for a request.
	w.headers(2*streams+1, false, ":method: POST", ":scheme: http", ":path: /", ":authority: h").headers(2*streams+1, true, "x: y")
	d.say(Client, []byte(w.text()))
	requests, beyond := 0, 0
	for i := range d.messages {
		switch m := &d.messages[i]; m.Kind {
		case Request:
			if m.Facts.Path == policy.Is("/") {
				requests++
			}
		case Unanswered:
			if m.Reason == TooManyStreams {
				beyond++
			}
		}
	}
	if requests != streams+1 || beyond != streams+1-1024 || len(d.p.two.streams) != 1024 {
		t.Errorf("%d requests, %d beyond the limit, %d kept", requests, beyond, len(d.p.two.streams))
	}
	d.messages = nil
	d.close()
	if len(d.messages) != 1024 || d.messages[1023].Kind != Unanswered || d.messages[1023].Stream != 2047 {
		t.Errorf("%d messages at the end", len(d.messages))
	}
}

// The client may use a larger table only if the server said so, and the other way
// round; how much larger is bounded.
func TestTableSizes(t *testing.T) {
	// A size update and an indexed :method GET, the rest literal.
	section := func(w *writer, stream uint32, size uint32) *writer {
		w.hpack.SetMaxDynamicTableSizeLimit(1 << 20)
		w.hpack.SetMaxDynamicTableSize(size)
		return w.get(stream, "/")
	}
	announce := func(size uint32) string {
		w := newWriter(Server)
		w.text()
		w.framer.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size})
		return w.text()
	}
	for _, c := range []struct {
		name      string
		announced uint32
		used      uint32
		want      Reason
	}{
		{"the default", 4096, 4096, None},
		{"smaller", 0, 0, None},
		{"larger, announced", 16384, 16384, None},
		{"larger, not announced", 4096, 8192, HeaderCompression},
		{"beyond the limit, within use", 1 << 20, 16384, None},
		{"beyond the limit", 1 << 20, 1 << 20, TableSize},
		{"announced smaller, not yet heeded", 100, 4096, None},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWriter(Client)
			d := feed(&Config{}, client(w.text()), server(announce(c.announced)), client(section(w, 1, c.used).text()))
			if m := d.messages[0]; m.Reason != c.want || (m.Kind == Broken) != (c.want != None) {
				t.Error(brief(&m))
			}
		})
	}
}

func TestFrameSizes(t *testing.T) {
	w := newWriter(Server)
	w.text()
	w.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
	c := newWriter(Client)
	c.headers(1, false, ":method: POST", ":scheme: http", ":path: /", ":authority: h").data(1, true, strings.Repeat("x", 1<<20))
	d := feed(&Config{}, server(w.text()), client(c.text()))
	if m := d.messages[len(d.messages)-1]; m.Kind != Ended || m.Body != 1<<20 {
		t.Error(brief(&m))
	}
}

func TestLimitOfTheCaller(t *testing.T) {
	d := feed(&Config{}, client("GET / HTTP/1.1\r\nX: yyy"))
	d.p.Limit(Client)
	d.take()
	if m := d.messages[0]; m.Kind != Broken || m.Facts.Path != policy.Lost[string](policy.Limit) || d.p.Wants(Client) {
		t.Error(brief(&m))
	}
	w := newWriter(Client)
	w.raw(frameHeaders, 0, 1, "\x82")
	d = feed(&Config{}, client(w.text()))
	if d.p.Undecided(Client) != 33 {
		t.Error("undecided from", d.p.Undecided(Client))
	}
	d.p.Limit(Client)
	d.take()
	if m := d.messages[0]; m.Start != 33 || m.Reason != BufferLimit {
		t.Error(brief(&m))
	}
}

// A section of 12 KB that comes byte by byte is not gone through again and again,
// and no more than a constant is done per byte where it is kept back.
func TestSlowSections(t *testing.T) {
	head := "GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 2000) + "\r\n"
	var p Parser
	for i := range len(head) {
		if n := p.Read(Client, []byte(head[:i+1])); n != 0 && i+1 != len(head) {
			t.Fatal("consumed", n, "of", i+1)
		}
		if s := &p.sides[Client]; s.scanned != i+1 && i+1 != len(head) {
			t.Fatalf("scanned %d of %d", s.scanned, i+1)
		}
	}
	if m := p.Messages(); len(m) != 2 || m[0].Reason != TooManyHeaders {
		t.Error(briefs(m))
	}
}
