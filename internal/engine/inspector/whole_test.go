package inspector_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/packet"
)

// said is a conversation: what the ends of a connection to a port say in turn.
type conversation struct {
	name  string
	port  uint16
	turns []turn
}

// framed is a message of DNS over TCP.
func framed(message string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(message)))) + message
}

// overHTTP2 are requests of HTTP/2 in clear text, each on a stream of its own.
func overHTTP2(t testing.TB, paths ...string) []turn {
	t.Helper()
	var asked, told, block bytes.Buffer
	asked.WriteString(http2.ClientPreface)
	fields := hpack.NewEncoder(&block)
	section := func(to *http2.Framer, stream uint32, ends bool, pairs ...string) {
		block.Reset()
		for i := 0; i < len(pairs); i += 2 {
			fields.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
		}
		half := block.Len() / 2
		to.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes()[:half], EndStream: ends})
		to.WriteContinuation(stream, true, block.Bytes()[half:])
	}
	a, b := http2.NewFramer(&asked, nil), http2.NewFramer(&told, nil)
	a.WriteSettings()
	for i, path := range paths {
		section(a, uint32(2*i+1), true, ":method", "GET", ":scheme", "http", ":authority", "a.example", ":path", path, "x-env", "prod")
	}
	b.WriteSettings()
	b.WriteSettingsAck()
	fields = hpack.NewEncoder(&block)
	for i := range paths {
		section(b, uint32(2*i+1), false, ":status", "200")
		b.WriteData(uint32(2*i+1), true, []byte("hi"))
	}
	return []turn{{0, asked.String()}, {1, told.String()}}
}

// conversations are one of each kind.
func conversations(t testing.TB) []conversation {
	t.Helper()
	secure := shake(t, "good.example", tls.VersionTLS13)
	old := shake(t, "bad.example", tls.VersionTLS12)
	requests := []turn{{0, getA + getA}, {1, ok}, {0, getEvil}, {1, ok + ok}}
	all := []conversation{
		{"http", 80, requests},
		{"bodies", 8080, []turn{
			{0, "POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n" + getA},
			{1, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
			{0, "PUT /b HTTP/1.1\r\nHost: a.example\r\nContent-Length: 40\r\n\r\n" + strings.Repeat("GET / HTTP/1.1\r\n\r\n  ", 2) + getEvil},
			{1, "HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\nHTTP/1.1 404 Gone\r\n\r\nuntil the end"},
		}},
		{"smuggling", 80, []turn{{0, getA + "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + getEvil}, {1, ok + ok}}},
		{"http2", 80, overHTTP2(t, "/a", "/evil", "/a?q=2")},
		{"tls 1.3", 443, secure},
		{"tls 1.2", 8443, old},
		{"proxy", 3128, append([]turn{{0, "CONNECT proxy.example:443 HTTP/1.1\r\nHost: proxy.example:443\r\n\r\n"}, {1, "HTTP/1.1 200 fine\r\n\r\n"}}, secure...)},
		{"mail", 25, append([]turn{{1, "220 mx ESMTP\r\n"}, {0, "EHLO a\r\n"}, {1, "250-mx\r\n250 STARTTLS\r\n"}, {0, "STARTTLS\r\n"}, {1, "220 go\r\n"}}, old...)},
		{"socks", 1080, append([]turn{
			{0, "\x05\x02\x00\x02"},
			{1, "\x05\x02"},
			{0, "\x01\x01u\x01p"},
			{1, "\x01\x00"},
			{0, "\x05\x01\x00\x03\x09a.example\x00\x50"},
			{1, "\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50"},
		}, requests...)},
		{"proxy protocol", 80, append([]turn{{0, "PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n" + getA}, {1, ok}}, requests...)},
		{"names", 53, []turn{
			{0, framed(ask(t, 1, "a.good.example.", "")) + framed(ask(t, 2, "b.good.example.", "")) + framed(ask(t, 3, "evil.example.", ""))},
			{1, framed(ask(t, 2, "b.good.example.", "192.0.2.9")) + framed(ask(t, 1, "a.good.example.", "192.0.2.8"))},
		}},
		{"words", 21, []turn{{1, "220 ftp\r\n"}, {0, "USER x\r\n"}, {1, "331 go on\r\n"}, {0, "PASS y\r\n"}}},
		{"bytes", 9000, []turn{{0, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09"}, {1, "\xff\xfe"}}},
	}
	for _, name := range []string{"curve25519", "gex"} {
		path := filepath.Join("..", "..", "inspect", "ssh", "testdata", "openssh-9.2", name)
		client, err := os.ReadFile(path + ".client")
		if err != nil {
			t.Fatal(err)
		}
		server, err := os.ReadFile(path + ".server")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, conversation{"ssh " + name, 22, []turn{{1, string(server[:30])}, {0, string(client)}, {1, string(server[30:])}}})
	}
	return all
}

// piece is a segment of a conversation.
type piece struct {
	end      int
	seq, ack uint32
	data     string
}

// cut sends a turn in pieces: cut anywhere, some repeated, whole or in other pieces,
// some late.
func (k *talk) cut(r *rand.Rand, t turn) []piece {
	var pieces []piece
	longest := 1 + r.IntN(1400)
	for at := 0; at < len(t.text); {
		n := min(1+r.IntN(longest), len(t.text)-at)
		pieces = append(pieces, piece{t.end, k.next[t.end] + uint32(at), k.next[t.end^1], t.text[at : at+n]})
		if r.IntN(4) == 0 { // again, from before to behind
			from := r.IntN(at + 1)
			from = max(from, at-200)
			pieces = append(pieces, piece{t.end, k.next[t.end] + uint32(from), k.next[t.end^1], t.text[from : at+1+r.IntN(n)]})
		}
		at += n
	}
	for i := range pieces {
		if j := i + r.IntN(min(16, len(pieces)-i)); r.IntN(2) == 0 {
			pieces[i], pieces[j] = pieces[j], pieces[i]
		}
	}
	return pieces
}

func (k *talk) send(p piece) {
	k.w.now = k.w.now.Add(time.Millisecond)
	payload := []byte(p.data)
	k.w.Packet(&k.c, &inspector.Packet{
		Time: k.w.now, End: p.end, Seq: p.seq, Ack: p.ack, Flags: packet.ACK | packet.PSH, Payload: payload,
	})
	for i := range payload {
		payload[i] = 'x'
	}
	k.w.take()
}

// told is all that comes of a conversation, which is cut by r, or not where r is nil.
func (c *conversation) told(t testing.TB, policy string, r *rand.Rand) string {
	w := newWorld(t, policy, nil)
	k := w.open(c.port)
	for _, turn := range c.turns {
		if r == nil {
			k.say(turn.end, turn.text)
			continue
		}
		for _, p := range k.cut(r, turn) {
			k.send(p)
		}
		k.next[turn.end] += uint32(len(turn.text))
	}
	k.close()
	w.Finish(w.now)
	w.take()
	if n, queries, asked, bytes := w.Held(); n+queries+asked+bytes != 0 {
		t.Errorf("%s: %d connections, %d and %d queries, %d bytes are left", c.name, n, queries, asked, bytes)
	}
	told := strings.Split(w.briefs(), "\n")
	if strings.HasPrefix(c.name, "names") {
		slices.Sort(told) // in the order in which answers are whole
	}
	return strings.Join(told, "\n") + "\n" + k.verdict() + fmt.Sprintf(" %v", w.settled[k.c.ID].Application)
}

// What is told of a conversation, and the verdicts, are the same however its bytes are
// cut, repeated and put in another order.
func TestHoweverCut(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for _, policy := range []string{"", pages} {
		for _, c := range conversations(t) {
			want := c.told(t, policy, nil)
			if policy == "" {
				t.Logf("%s:\n%s", c.name, want)
			}
			for seed := range uint64(rounds) {
				if got := c.told(t, policy, rand.New(rand.NewPCG(seed, 1))); got != want {
					t.Errorf("%s, seed %d:\n%s\nuncut:\n%s", c.name, seed, got, want)
					break
				}
			}
		}
	}
}

// The bytes that may go on never reach into a request that was not judged, however they
// come.
func TestJudgedHoweverCut(t *testing.T) {
	body := "POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 30\r\n\r\n" + strings.Repeat("GET /a HTT", 3)
	parts := []string{getA, body, getA, body, body, getEvil}
	text := strings.Join(parts, "")
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t, pages, nil)
		k := w.open(80)
		begin := k.next[0]
		came := make([]bool, len(text)+1)
		for _, p := range k.cut(r, turn{0, text}) {
			k.send(p)
			for i := range p.data {
				came[int(p.seq-begin)+i] = true
			}
			whole := slices.Index(came, false)
			allowed := 0
			for _, part := range parts {
				head := strings.Index(part, "\r\n\r\n") + 4
				if whole < allowed+head {
					break
				}
				allowed += len(part)
			}
			until, how := w.Judged(k.c.ID, 0)
			if how == inspector.All || how == inspector.Part && int(until-begin) > allowed {
				t.Fatalf("seed %d: with %d bytes, %d (%v) may go on, not %d", seed, whole, until-begin, how, allowed)
			}
		}
	}
}
