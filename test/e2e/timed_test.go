package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestExpiry: a rule counts until the moment it names, and what it allowed is
// judged again then.
func TestExpiry(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	file := newPolicy(t, "mode: detect\n")
	w := start(t, l.a, config{policy: string(file)})
	expires := time.Now().Add(12 * time.Second).Truncate(time.Second)
	file.replace(t, fmt.Sprintf(`
mode: prevent
rules:
  - {name: visit, action: allow, expires: %[1]s, layer4: {tcp: 8080}}
  - {name: visit6, action: allow, expires: %[1]s, layer4: {tcp: 8081}}
  - {name: other, action: allow, layer4: {tcp: 9090}}
`, expires.UTC().Format(time.RFC3339)))
	w.awaitChange(t, "loaded", 2)
	at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080)
	p := l.connect(t, l.a, l.b, at)
	p.chat(t)
	change := w.awaitChange(t, "expired", 2)
	if late := change.time.Sub(expires); late < 0 || late > 5*time.Second {
		t.Errorf("expired %v after its time", late)
	}
	if detail := change.str("weir.policy.detail"); !strings.HasSuffix(detail, "expired: visit, visit6") {
		t.Errorf("detail %q", detail)
	}
	if d := l.a.dialTCP(at, patience); !errors.Is(d.err, unix.ECONNREFUSED) {
		t.Errorf("connect after the rule's end: %v", d.err)
	} else {
		w.expect(t, tuple{"tcp", d.source, at}, expectation{
			direction: "outbound", mode: "prevent", verdict: "blocked", action: "block", reason: "default",
			generation: "2", end: "blocked", source: d.syn(ipv4),
		})
	}
	p.isCut(t)
	s := w.ended(t, p.tuple)
	if last := s[len(s)-1]; last.str("weir.end_reason") != "policy" || last.str("weir.verdict") != "blocked" || last.str("weir.reason") != "default" {
		t.Errorf("its end: %s", last.body)
	}
	l.connect(t, l.a, l.b, netip.AddrPortFrom(at.Addr(), 9090))
}

// isCut sends, and checks that both ends are reset.
func (p *pair) isCut(t *testing.T) {
	t.Helper()
	p.client.Write([]byte{1})
	for _, c := range []interface {
		Read([]byte) (int, error)
		SetReadDeadline(time.Time) error
	}{p.client, p.server} {
		c.SetReadDeadline(time.Now().Add(patience))
		if n, err := c.Read(make([]byte, 10)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%v: an end reads %d bytes, %v; want a reset", p.tuple, n, err)
		}
	}
}

// TestDuration: a connection that lasts too long is cut at its next packet.
func TestDuration(t *testing.T) {
	t.Parallel()
	const policy = `
mode: %s
rules:
  - {name: too-long, action: block, layer4: {tcp: {destination_ports: 8080, duration: {over: 6s}}}}
  - {name: all, action: allow}
`
	for _, mode := range []string{"prevent", "detect"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			w := start(t, l.a, config{policy: string(newPolicy(t, fmt.Sprintf(policy, mode)))})
			long := l.connect(t, l.a, l.b, netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080))
			spared := l.connect(t, l.b, l.a, netip.AddrPortFrom(l.address(l.a, ipv6, 0), 9090))
			began := w.awaitRecord(t, "the start", long.tuple.is).time
			for time.Since(began) < 1500*time.Millisecond {
				long.chat(t) // not too long yet
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(time.Until(began.Add(6100 * time.Millisecond)))
			spared.chat(t)
			before := expectation{
				direction: "outbound", mode: mode, verdict: "allowed", action: "allow", reason: "rule", rule: "all", generation: "1",
			}
			after := before
			after.verdict, after.action, after.rule, after.end = "blocked", "block", "too-long", "duration"
			if mode == "detect" {
				before.verdict, after.verdict, after.end = "detected", "detected", "fin"
				long.chat(t)
				long.exchange(t, 10, 10)
			} else {
				long.isCut(t)
			}
			s := w.ended(t, long.tuple)
			if len(s) != 3 || s[1].event != "weir.connection.verdict" {
				t.Fatalf("want start, verdict, end; got\n%v", s)
			}
			expectRecord(t, s[0], long.tuple, before)
			for _, r := range s[1:] {
				after.source = counts{r.num("weir.source.packets"), r.num("weir.source.bytes")}
				after.destination = counts{r.num("weir.destination.packets"), r.num("weir.destination.bytes")}
				expectRecord(t, r, long.tuple, after)
			}
			if at := s[1].time.Sub(began); at < 6*time.Second {
				t.Errorf("judged again after %v", at)
			}
			spared.exchange(t, 1, 1)
			if last := w.ended(t, spared.tuple); len(last) != 2 {
				t.Errorf("the other connection:\n%v", last)
			}
		})
	}
}
