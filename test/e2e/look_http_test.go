package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// httpTalks are over HTTP in the clear.
var httpTalks = []talk{
	{
		name: "curl keeps a connection", transport: "tcp", port: 8001, protocol: "http", run: curlTwoPages,
		exchanges: []said{
			request("1.1", "GET", "/a", 200, "", with("url.query", "q=1"), with("http.request.header.x-test", []any{"yes"})),
			request("1.1", "GET", "/admin/b", 404, "no-admin"),
		},
		// A request that is blocked would cut it.
		action: "block", rule: "no-admin",
	},
	{
		name: "curl h2c", transport: "tcp", port: 8002, protocol: "http", run: curlH2C,
		exchanges: []said{request("2", "GET", "/a", 200, "", with("url.query", "q=1"))},
		action:    "allow", rule: "web",
	},
	{
		name: "Go h2c", transport: "tcp", port: 8004, protocol: "http", run: goH2C,
		exchanges: []said{
			request("2", "GET", "/0", 200, ""), request("2", "GET", "/1", 200, ""), request("2", "GET", "/admin/2", 404, "no-admin"),
		},
		action: "block", rule: "no-admin",
	},
	{
		name: "pipelining", transport: "tcp", port: 8003, protocol: "http", run: pipelinedHTTP,
		exchanges: []said{
			request("1.1", "GET", "/1", 200, "", without("user_agent.original")),
			request("1.1", "POST", "/2", 200, "", without("user_agent.original")),
			request("1.1", "HEAD", "/3", 200, "", without("user_agent.original")),
		},
		action: "allow", rule: "web",
	},
}

type change func(map[string]any)

func with(key string, value any) change { return func(m map[string]any) { m[key] = value } }
func without(key string) change         { return func(m map[string]any) { delete(m, key) } }

func request(version, method, path string, status int, rule string, changes ...change) said {
	s := said{action: "allow", rule: "web", attributes: map[string]any{
		"event": "weir.http.request", "network.protocol.name": "http", "network.protocol.version": version,
		"http.request.method": method, "url.scheme": "http", "url.path": path, "http.response.status_code": int64(status),
		"server.address": "www.example.com", "user_agent.original": present,
	}}
	if rule != "" {
		s.action, s.rule = "block", rule
	}
	for _, c := range changes {
		c(s.attributes)
	}
	return s
}

// serveHTTP serves HTTP/1 and, with prior knowledge, HTTP/2.
func (h *host) serveHTTP(t *testing.T, at netip.AddrPort) {
	t.Helper()
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/admin/") {
			w.WriteHeader(http.StatusNotFound)
		}
		io.Copy(w, r.Body)
		fmt.Fprintln(w, "hello")
	})}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	l := h.listenTCP(t, at)
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}

// curlTwoPages asks for two pages by one connection.
func curlTwoPages(t *testing.T, p passage, at netip.AddrPort) {
	curl := tool(t, "curl")
	p.to.serveHTTP(t, at)
	url := "http://" + at.String()
	out, err := p.from.output(t, curl, "-sS", "-g", "-H", "host: www.example.com", "-H", "x-test: yes", url+"/a?q=1",
		"--next", "-sS", "-g", "-H", "host: www.example.com", url+"/admin/b")
	if err != nil || out != "hello\nhello\n" {
		t.Fatalf("curl says %q, %v", out, err)
	}
}

func curlH2C(t *testing.T, p passage, at netip.AddrPort) {
	curl := tool(t, "curl")
	p.to.serveHTTP(t, at)
	out, err := p.from.output(t, curl, "-sS", "-g", "--http2-prior-knowledge", "-H", "host: www.example.com", "http://"+at.String()+"/a?q=1")
	if err != nil || out != "hello\n" {
		t.Fatalf("curl says %q, %v", out, err)
	}
}

// goH2C has three streams in one connection.
func goH2C(t *testing.T, p passage, at netip.AddrPort) {
	p.to.serveHTTP(t, at)
	transport := &http.Transport{Protocols: new(http.Protocols), DialContext: p.from.dialer()}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	for _, path := range []string{"/0", "/1", "/admin/2"} {
		r, err := http.NewRequest(http.MethodGet, "http://"+at.String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "www.example.com"
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}

func pipelinedHTTP(t *testing.T, p passage, at netip.AddrPort) {
	p.to.serveHTTP(t, at)
	c := p.from.dial(t, at)
	defer c.Close()
	const common = "Host: www.example.com\r\n"
	if _, err := io.WriteString(c, "GET /1 HTTP/1.1\r\n"+common+"\r\nPOST /2 HTTP/1.1\r\n"+common+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHEAD /3 HTTP/1.1\r\n"+common+"Connection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	for _, method := range []string{"GET", "POST", "HEAD"} {
		r, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r.Body)
	}
}

// dial connects, within the test's patience.
func (h *host) dial(t *testing.T, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	d := h.dialTCP(to, patience)
	if d.err != nil {
		t.Fatal(d.err)
	}
	d.conn.SetDeadline(deadline(patience))
	return d.conn
}

// dialer is for clients that connect by themselves.
func (h *host) dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (c net.Conn, err error) {
		// A client dials on when its request is given up.
		if gone := h.tryRun(func() { c, err = (&net.Dialer{}).DialContext(ctx, network, address) }); gone != nil {
			return nil, gone
		}
		return c, err
	}
}
