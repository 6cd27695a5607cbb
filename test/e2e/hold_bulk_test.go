package e2e

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"
)

var bulk = flag.Int64("bulk", 300, "megabytes each way in TestHoldBulk; more than 256 take several windows that pass the agent by")

// TestHoldBulk: large bodies of every kind come as they were sent, beside two hundred
// connections, and behind them requests are judged as before.
func TestHoldBulk(t *testing.T) {
	l := newLab(t)
	start(t, l.a, config{policy: string(newPolicy(t, fmt.Sprintf(holdPaths, "block"))), telemetry: metricsAt8888})
	at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080)
	p := l.servePages(t, l.b, at)
	size := *bulk << 20
	all := sha256.New()
	io.CopyN(all, endless(1), size)
	sum := fmt.Sprintf("%x", all.Sum(nil))
	base := "http://" + at.String()
	client := l.a.client()
	client.Timeout = 10 * patience
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
			began := time.Now()
			q, _ := http.NewRequest("POST", base+"/ok/"+name, body)
			if name == "known" {
				q.ContentLength = size
			}
			r, err := client.Do(q)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			r.Body.Close()
			if got, _ := p.sums.Load("/ok/" + name); got != sum {
				t.Errorf("what was uploaded (%s) is not what came", name)
			}
			t.Logf("%s: %.1f Gbit/s", name, float64(8*size)/1e9/time.Since(began).Seconds())
		})
	}
	for i := range 200 {
		running.Go(func() {
			for range 5 {
				r, err := client.Get(fmt.Sprintf("%s/ok/page%d?bytes=10000", base, i))
				if err != nil {
					t.Error(err)
					return
				}
				if n, err := io.Copy(io.Discard, r.Body); n != 10000 || err != nil {
					t.Errorf("%d bytes came: %v", n, err)
				}
				r.Body.Close()
			}
		})
	}
	running.Wait()
	page := l.a.get(t, "http://127.0.0.1:8888/metrics")
	for _, cause := range []string{"hold_suspect", "hold_over_limit", "hold_blocked", "held_queue_full"} {
		if n := sample(page, "otelcol_weir_datapath_packets", cause); n > 0 {
			t.Errorf("%d packets were dropped (%s)", n, cause)
		}
	}
	l.asksBehindBody(t, p, at, size)
}

// asksBehindBody sends a request that is forbidden in the connection of a large body that
// was allowed: nothing of it comes.
func (l *lab) asksBehindBody(t *testing.T, p *pages, at netip.AddrPort, size int64) {
	t.Helper()
	c, err := l.dial(t, at)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(10 * patience))
	fmt.Fprintf(c, "POST /ok/last HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n", size)
	if n, err := io.Copy(c, io.LimitReader(endless(1), size)); err != nil {
		t.Fatalf("after %d bytes of a body that is allowed: %v", n, err)
	}
	fmt.Fprint(c, "GET /no/secret HTTP/1.1\r\nHost: a.example\r\n\r\n")
	got, err := io.ReadAll(c)
	if n := p.forbidden.Load(); n > 0 {
		t.Errorf("%d requests came that are forbidden: %q, %v", n, got, err)
	}
	if err == nil || len(got) == 0 {
		t.Errorf("%q is answered, and then %v; want the answer to what is allowed, and a reset", got, err)
	}
}
