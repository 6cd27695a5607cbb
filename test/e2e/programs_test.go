package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// programsPolicy says of each program what it may say.
const programsPolicy = `
mode: prevent
rules:
  - {name: no-push, action: block, layer4: {tcp: 8001}, layer7: {http: {paths: /open.git/git-receive-pack}}}
  - {name: git, action: allow, layer4: {tcp: 8001}, layer7: {http: {paths: [/open.git/**, /team.git/**]}}}
  - {name: secure-git, action: allow, layer4: {tcp: 8002}, layer7: {tls: git.example}}
  - {name: packages, action: allow, layer4: {tcp: 3142}, layer7: {http: {hosts: packages.example, paths: /debian/**, methods: GET}}}
  - {name: pages, action: allow, layer4: {tcp: 8003}, layer7: {http: {paths: /ok/**}}}
  - {name: calls, action: allow, layer4: {tcp: 8004}, layer7: {http: {paths: [/grpc.testing.TestService/UnaryCall, /grpc.testing.TestService/FullDuplexCall]}}}
  - {name: sockets, action: allow, layer4: {tcp: 8005}, layer7: {http: {paths: /ok/**}}}
  - {name: shell, action: allow, layer4: {tcp: 2201}, layer7: {ssh: {software: "OpenSSH_*"}}}
  - {name: other-shell, action: allow, layer4: {tcp: 2202}, layer7: {ssh: {software: "dropbear_*"}}}
  - {name: names, action: allow, layer4: {udp: 5300, tcp: 5300}, layer7: {dns: .example.com}}
  - {name: quic, action: allow, layer4: {udp: 8443}, layer7: {tls: www.example.com}}
`

// programs are clients and servers that people use, with Weir in between: what they may
// say comes unchanged, what they may not does not, and both is told.
type programs struct {
	*lab
	w *weir
	f family
}

// TestHoldPrograms runs them side by side, through one Weir.
func TestHoldPrograms(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			p := &programs{lab: l, f: f, w: start(t, l.a, config{policy: string(newPolicy(t, programsPolicy)), telemetry: metricsAt8888})}
			// Subtests that are parallel have ended when this function's cleanups run.
			t.Run("all", func(t *testing.T) {
				for name, run := range map[string]func(*testing.T, *programs){
					"git": gitHTTP, "git over TLS": gitTLS, "apt": aptProxy, "curl": curlPages, "HTTP2": hundredStreams,
					"gRPC": grpcCalls, "WebSocket": webSocket, "ssh": sshAndSCP, "dig": digNames, "QUIC": quicNames,
				} {
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						run(t, p)
					})
				}
			})
			p.nothingWaits(t)
			if t.Failed() {
				for _, r := range p.w.records(t) {
					if strings.HasPrefix(r.str("weir.reason"), "error.") {
						t.Logf("%s %s %s", r.event, r.body, r.str("weir.reason"))
					}
				}
			}
		})
	}
}

// at is a port of the servers' host.
func (p *programs) at(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(p.address(p.b, p.f, 0), port)
}

// tells waits for a record of a server's port that has these attributes, which are pairs.
func (p *programs) tells(t *testing.T, event string, port uint16, attributes ...string) {
	t.Helper()
	p.w.awaitRecord(t, fmt.Sprintf("%s of port %d with %q", event, port, attributes), func(r record) bool {
		if r.event != event || r.num("destination.port") != int64(port) {
			return false
		}
		for pair := range slices.Chunk(attributes, 2) {
			if r.str(pair[0]) != pair[1] {
				return false
			}
		}
		return true
	})
}

// nothingWaits: when all have ended nothing is held any more.
func (l *lab) nothingWaits(t *testing.T) {
	t.Helper()
	var page string
	awaitOr(t, func() bool {
		page = l.a.get(t, "http://127.0.0.1:8888/metrics")
		return gauge(page, "otelcol_weir_hold_connections") == 0 && gauge(page, "otelcol_weir_hold_bytes") == 0
	}, func() {
		t.Errorf("%d connections with %d bytes wait at the end", gauge(page, "otelcol_weir_hold_connections"), gauge(page, "otelcol_weir_hold_bytes"))
	})
}

// visits are what came to a server, and how often.
type visits struct {
	mu  sync.Mutex
	all map[string]int
}

func (c *visits) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]int{}
	}
	c.all[what]++
}

func (c *visits) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[what]
}

// beginning counts all that begin so.
func (c *visits) beginning(prefix string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for what, times := range c.all {
		if strings.HasPrefix(what, prefix) {
			n += times
		}
	}
	return n
}

// serve serves HTTP/1 and HTTP/2 in clear text, and counts what is asked for by path.
func (h *host) serve(t *testing.T, at netip.AddrPort, secure *tls.Config, handler http.Handler) *visits {
	t.Helper()
	came := &visits{}
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came.add(r.Host + r.URL.Path)
		handler.ServeHTTP(w, r)
	})}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	var listener net.Listener = h.listenTCP(t, at)
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	go s.Serve(listener)
	t.Cleanup(func() { s.Close() })
	return came
}

// content are bytes that look random.
func content(seed byte, size int) []byte {
	b := make([]byte, size)
	io.ReadFull(endless(seed), b)
	return b
}

// isContent says where a file is other than what it should be.
func isContent(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes, other than the %d that were sent: %v", path, len(got), len(want), err)
	}
}
