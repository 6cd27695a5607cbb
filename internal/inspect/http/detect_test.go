package http

import (
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	long := strings.Repeat("x", DetectBytes)
	for _, c := range []struct {
		text string
		want Match
	}{
		{"", More},
		{"\r\n", More},
		{"G", More},
		{"GET", More},
		{"GET ", More},
		{"GET /", Yes},
		{"get /index.html\r\n", Yes},
		{"GET http://h/", Yes},
		{"OPTIONS *", More},
		{"OPTIONS * HTTP/1.1\r\n", Yes},
		{"CONNECT h:443", More},
		{"CONNECT h:443 HTTP/1.0\r\n", Yes},
		{"BREW /pot HTTP/1.1\r\n", Yes},
		{"BREW /pot", More},
		{"BREW /pot\r\n", No},
		{"BREW /" + long, Yes},
		{"\r\n\r\n GET / HTTP/1.1\r\n", Yes},
		{strings.Repeat("\r\n", 40), No},
		// Forms that some server takes.
		{"GET\t/\tHTTP/1.1\r\n", Yes},
		{"GET\x00 / HTTP/1.1\r\n", Yes},
		{"GET\v/x HTTP/1.1\r\n", Yes},
		{"GET\xff / HTTP/1.1\r\n", Yes},
		{"bla:rgh /foo HTTP/1.1\r\n", Yes},
		{"GET a HTTP/1.1\r\n", Yes},
		{"GET / http/1.1\r\n", Yes},
		{"POST /x\n", Yes},
		{"GET /foo FTP/1.1\r\n", Yes},
		{preface[:7], More},
		{preface[:20], More},
		{preface, Yes},
		{"PRI * HTTP/2.0\r\n\r\nXX", Yes},
		// Others.
		{"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", No},
		{"\x16\x03\x01\x02\x00\x01", No},
		{"EHLO mail.example\r\n", No},
		{"USER anonymous\r\n", No},
		{"CWD /pub\r\n", No},
		{"PING\r\n", No},
		{"*1\r\n$4\r\nPING\r\n", No},
		{"get key\r\n", No},
		{"set k 0 0 5\r\nhello\r\n", No},
		{"OPTIONS rtsp://h/ RTSP/1.0\r\n", No},
		{"INVITE sip:a@b SIP/2.0\r\n", No},
		{"a001 LOGIN a b\r\n", No},
		{"\x00\x00\x00\x10", No},
		{"AMQP\x00\x00\x09\x01", No},
		{"\x13BitTorrent protocol", No},
		{strings.Repeat("a", 70), No},
		{"NICK x\r\nUSER a b c :d\r\n", No},
	} {
		if got := Detect([]byte(c.text)); got != c.want {
			t.Errorf("%.40q: %d, want %d", c.text, got, c.want)
		}
	}
}

// What was said of the first bytes is not taken back when more come, and enough
// bytes always decide.
func FuzzDetect(f *testing.F) {
	for _, s := range []string{"GET / HTTP/1.1\r\n", preface, "\r\n\r\nFOO bar\r\n", "SSH-2.0-x y\r\n", "get\x00http://"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		said := More
		for i := range len(data) + 1 {
			if i > 200 && i%97 != 0 && i != len(data) {
				continue
			}
			got := Detect(data[:i])
			if said != More && got != said {
				t.Fatalf("%d, then %d of %q", said, got, data[:i])
			}
			if i >= DetectBytes && got == More {
				t.Fatal("not decided")
			}
			said = got
		}
	})
}
