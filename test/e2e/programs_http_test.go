package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// echoes answers with a megabyte, and what came.
var echoes = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	came, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.Write(append(content(4, 1<<20), came...))
})

// curlPages asks for pages that are allowed, and for one that is not: in HTTP/1.1 by one
// connection, in HTTP/2 by one each, since curl 7.88 fails at the second page of one.
func curlPages(t *testing.T, p *programs) {
	curl := tool(t, "curl")
	at := p.at(8003)
	came := p.b.serve(t, at, nil, echoes)
	for option, version := range map[string]string{"--http1.1": "1.1", "--http2-prior-knowledge": "2"} {
		dir := t.TempDir()
		get := func(pages ...string) (string, error) {
			arguments := []string{"-sS", "-g", option, "--noproxy", "*", "-d", "hello", "-w", "%{http_version} %{num_connects}\n"}
			for _, page := range pages {
				arguments = append(arguments, "http://"+at.String()+page, "-o", filepath.Join(dir, filepath.Base(page)))
			}
			return p.a.output(t, curl, arguments...)
		}
		secret := "/no/page" + version
		if version == "1.1" {
			if out, err := get("/ok/first", "/ok/second"); err != nil || out != "1.1 1\n1.1 0\n" {
				t.Errorf("curl says %q, %v", out, err)
			}
			isContent(t, filepath.Join(dir, "second"), append(content(4, 1<<20), "hello"...))
			if out, err := get("/ok/first", secret); err == nil {
				t.Errorf("curl asks for what is forbidden, and says %q", out)
			}
		} else {
			if out, err := get("/ok/first"); err != nil || out != "2 1\n" {
				t.Errorf("curl says %q, %v", out, err)
			}
			if out, err := get(secret); err == nil {
				t.Errorf("curl asks for what is forbidden, and says %q", out)
			}
		}
		isContent(t, filepath.Join(dir, "first"), append(content(4, 1<<20), "hello"...))
		if n := came.of(at.String() + secret); n > 0 {
			t.Errorf("%d requests came that are forbidden", n)
		}
		p.tells(t, "weir.http.request", at.Port(), "url.path", "/ok/first", "network.protocol.version", version, "weir.verdict", "allowed", "security_rule.name", "pages")
		p.tells(t, "weir.http.request", at.Port(), "url.path", secret, "network.protocol.version", version, "weir.verdict", "blocked", "weir.reason", "default")
	}
}

// hundredStreams are at the same time in one connection, each with another content in
// both directions; then one more asks for what is forbidden.
func hundredStreams(t *testing.T, p *programs) {
	const streams, size = 100, 50_000
	at := netip.AddrPortFrom(p.address(p.b, p.f, 1), 8003)
	var all sync.WaitGroup
	all.Add(streams)
	came := p.b.serve(t, at, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ok/warm" {
			return
		}
		w.(http.Flusher).Flush()
		all.Done()
		all.Wait()
		io.Copy(w, r.Body)
	}))
	dials := atomic.Int64{}
	dial := p.a.dialer()
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, address)
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	base := "http://" + at.String()
	if r, err := client.Get(base + "/ok/warm"); err != nil {
		t.Fatal(err)
	} else {
		r.Body.Close()
	}
	var running sync.WaitGroup
	for i := range streams {
		running.Go(func() {
			want := content(byte(i), size)
			r, err := client.Post(fmt.Sprintf("%s/ok/%d", base, i), "", bytes.NewReader(want))
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Body.Close()
			if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, want) {
				t.Errorf("stream %d: %d bytes came, other than %d that were sent: %v", i, len(got), size, err)
			}
		})
	}
	running.Wait()
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections for %d streams", n, streams)
	}
	if r, err := client.Get(base + "/no/page"); err == nil {
		r.Body.Close()
		t.Errorf("what is forbidden is answered %s", r.Status)
	}
	if n := came.of(at.String() + "/no/page"); n > 0 {
		t.Errorf("%d requests came that are forbidden", n)
	}
	p.tells(t, "weir.http.request", at.Port(), "url.path", "/ok/99", "weir.verdict", "allowed", "security_rule.name", "pages")
	p.tells(t, "weir.http.request", at.Port(), "url.path", "/no/page", "network.protocol.version", "2", "weir.verdict", "blocked", "weir.reason", "default")
}

// webSocket upgrades a connection (RFC 6455), in which frames go both ways then.
func webSocket(t *testing.T, p *programs) {
	at := p.at(8005)
	came := p.b.serve(t, at, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		accept := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(accept[:]))
		io.Copy(c, in) // frames as they come
	}))
	shake := func(path string) (net.Conn, *bufio.Reader, *http.Response, error) {
		c := p.a.dial(t, at)
		t.Cleanup(func() { c.Close() })
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path)
		in := bufio.NewReader(c)
		r, err := http.ReadResponse(in, nil)
		return c, in, r, err
	}
	c, in, r, err := shake("/ok/socket")
	if err != nil || r.StatusCode != http.StatusSwitchingProtocols || r.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("the handshake is answered %v, %v", r, err)
	}
	// A frame that looks like a request that is forbidden, others of all sizes.
	for i, payload := range [][]byte{[]byte("hello"), []byte("GET /no/page HTTP/1.1\r\nHost: a.example\r\n\r\n"), content(5, 60_000), content(6, 3<<20)} {
		frame := masked(payload, uint32(i)*0x01020304)
		go c.Write(frame)
		got := make([]byte, len(frame))
		if _, err := io.ReadFull(in, got); err != nil || !bytes.Equal(got, frame) {
			t.Fatalf("frame %d of %d bytes comes back as another: %v", i, len(frame), err)
		}
	}
	c.Close()
	if _, _, r, err := shake("/no/socket"); err == nil || isTimeout(err) {
		t.Errorf("the handshake for what is forbidden is answered %v, %v, want a reset", r, err)
	}
	if n := came.of("a.example/no/socket"); n > 0 {
		t.Errorf("%d requests came that are forbidden", n)
	}
	p.tells(t, "weir.http.request", at.Port(), "url.path", "/ok/socket", "weir.verdict", "allowed", "security_rule.name", "sockets")
	p.tells(t, "weir.http.request", at.Port(), "url.path", "/no/socket", "weir.verdict", "blocked", "weir.reason", "default")
}

// masked is a binary frame of a client (RFC 6455 section 5.2).
func masked(payload []byte, key uint32) []byte {
	frame := []byte{0x82}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	frame = binary.BigEndian.AppendUint32(frame, key)
	mask := frame[len(frame)-4:]
	for i, b := range payload {
		frame = append(frame, b^mask[i%4])
	}
	return frame
}
