package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const holdPaths = `
mode: prevent
on_error: {agent_down: %s}
rules:
  - {name: reads, action: allow, layer4: {tcp: 8080}, layer7: {http: {paths: /ok/**}}}
  - {name: open, action: allow, layer4: {tcp: 9090}}
  - {name: secure, action: allow, layer4: {tcp: 8443}, layer7: {tls: ok.example}}
`

// pages is an HTTP server; it counts what comes for paths that are forbidden.
type pages struct {
	forbidden atomic.Int64
	sums      sync.Map // of what was uploaded, by path
}

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/ok/") {
		p.forbidden.Add(1)
	}
	sum := sha256.New()
	io.Copy(sum, r.Body)
	p.sums.Store(r.URL.Path, fmt.Sprintf("%x", sum.Sum(nil)))
	var size int64
	fmt.Sscan(r.URL.Query().Get("bytes"), &size)
	io.Copy(w, io.LimitReader(endless(1), size))
}

// endless are bytes that look random, the same for each seed.
func endless(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func (l *lab) servePages(t *testing.T, h *host, at netip.AddrPort) *pages {
	t.Helper()
	p := &pages{}
	s := &http.Server{Handler: p}
	listener := h.listenTCP(t, at)
	go s.Serve(listener)
	t.Cleanup(func() { s.Close() })
	return p
}

// client is one whose connections are made on a host.
func (h *host) client() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		MaxIdleConnsPerHost: 100,
		DialContext: func(_ context.Context, _, address string) (c net.Conn, err error) {
			// A client dials on when its request is given up.
			if gone := h.tryRun(func() { c, err = net.DialTimeout("tcp", address, patience) }); gone != nil {
				return nil, gone
			}
			return c, err
		},
	}}
}

// TestHoldIdentical: what is allowed comes as it was sent, in each direction, while
// policies are replaced and the Collector reloads. Nothing waits for a resend.
func TestHoldIdentical(t *testing.T) {
	l := newLab(t)
	file := newPolicy(t, fmt.Sprintf(holdPaths, "block"))
	w := start(t, l.a, config{policy: string(file), receiver: "inspect: {queues: 4}"})
	at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080)
	p := l.servePages(t, l.b, at)
	client := l.a.client()
	const size = 100 << 20
	want := sha256.New()
	io.CopyN(want, endless(1), size)
	sum := fmt.Sprintf("%x", want.Sum(nil))
	base := "http://" + at.String()
	var running sync.WaitGroup
	running.Go(func() {
		r, err := client.Get(fmt.Sprintf("%s/ok/down?bytes=%d", base, size))
		if err != nil {
			t.Error(err)
			return
		}
		defer r.Body.Close()
		got := sha256.New()
		if n, err := io.Copy(got, r.Body); err != nil || fmt.Sprintf("%x", got.Sum(nil)) != sum {
			t.Errorf("%d bytes came down, other than they were sent: %v", n, err)
		}
	})
	for name, body := range map[string]io.Reader{
		"known":   io.LimitReader(endless(1), size),
		"chunked": struct{ io.Reader }{io.LimitReader(endless(1), size)},
	} {
		running.Go(func() {
			q, _ := http.NewRequest("POST", base+"/ok/"+name, body)
			if name == "known" {
				q.ContentLength = size
			}
			r, err := client.Do(q)
			if err != nil {
				t.Error(err)
				return
			}
			r.Body.Close()
			if got, _ := p.sums.Load("/ok/" + name); got != sum {
				t.Errorf("what was uploaded (%s) is not what came", name)
			}
		})
	}
	var mu sync.Mutex
	var took []time.Duration
	for range 50 {
		running.Go(func() {
			for range 40 {
				began := time.Now()
				r, err := client.Get(base + "/ok/page?bytes=1000")
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	for i := range 5 {
		time.Sleep(100 * time.Millisecond)
		file.replace(t, fmt.Sprintf(holdPaths, "block")+fmt.Sprintf("  - {name: more%d, action: allow, layer4: {udp: %d}}\n", i, 1000+i))
		if i == 2 {
			w.signal(t, unix.SIGHUP)
		}
	}
	running.Wait()
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	t.Logf("%d requests beside the bulk: p50 %v, p99 %v, longest %v", len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	for range 20 {
		r, err := l.a.client().Get(base + "/no/page")
		if err == nil {
			r.Body.Close()
			t.Error("a request that is forbidden was answered")
		}
	}
	if n := p.forbidden.Load(); n > 0 {
		t.Errorf("%d requests came that are forbidden", n)
	}
}

// getPage sends a request in a connection of its own, and waits a second for the answer.
func getPage(h *host, at netip.AddrPort, path string) (status int, err error) {
	return h.getPage(at, path, time.Second)
}

func (h *host) getPage(at netip.AddrPort, path string, within time.Duration) (status int, err error) {
	d := h.dialTCP(at, patience)
	if d.err != nil {
		return 0, d.err
	}
	defer d.conn.Close()
	d.conn.SetDeadline(time.Now().Add(within))
	fmt.Fprintf(d.conn, "GET %s HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n", path)
	r, err := http.ReadResponse(bufio.NewReader(d.conn), nil)
	if err != nil {
		return 0, err
	}
	return r.StatusCode, nil
}
