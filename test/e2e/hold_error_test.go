package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// noSecrets blocks by a fact, so that on_error answers where it cannot be had.
const noSecrets = `
mode: prevent
on_error: %s
rules:
  - {name: no-secrets, action: block, layer4: {tcp: 8080}, layer7: {http: {paths: /no/**}}}
  - {name: rest, action: allow}
`

// TestHoldOnError: each cause of which a fact is missing has the answer that the policy
// gives it, which is told and counted.
func TestHoldOnError(t *testing.T) {
	for _, c := range []struct {
		cause   string
		answers []string
		setting string // of the receiver
		// provoke makes a connection whose request cannot be judged. It comes as far as it
		// asked for what is forbidden, or to the bounds.
		provoke func(t *testing.T, l *lab, at netip.AddrPort, begin func()) *net.TCPConn
	}{
		{"limit", []string{"block", "allow"}, "inspect: {max_bytes: 2048}", askMuch},
		{"limit", []string{"block", "allow"}, "inspect: {max_wait: 300ms}", askSlowly},
		{"not_seen", []string{"block", "allow", "keep"}, "", askBefore},
	} {
		for _, answer := range c.answers {
			t.Run(strings.Join([]string{c.cause, answer, c.setting}, " "), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080)
				l.servePages(t, l.b, at)
				var w *weir
				conn := c.provoke(t, l, at, func() {
					w = start(t, l.a, config{
						policy:   string(newPolicy(t, fmt.Sprintf(noSecrets, "{"+c.cause+": "+answer+"}"))),
						receiver: c.setting,
					})
				})
				conn.SetReadDeadline(deadline(patience))
				response, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if answer == "block" && (err == nil || isTimeout(err)) {
					t.Errorf("what cannot be judged is answered %v, %v, want that it is cut", response, err)
				}
				if answer != "block" && (err != nil || response.StatusCode != 200) {
					t.Errorf("what cannot be judged is answered %v, %v, want a page", response, err)
				}
				conn.Close()
				w.told(t, tuple{"tcp", conn.LocalAddr().(*net.TCPAddr).AddrPort(), at}, c.cause, answer)
			})
		}
	}
}

// told waits for the end of a connection that was answered for by on_error, which its
// records say, and the metrics.
func (w *weir) told(t *testing.T, c tuple, cause, answer string) {
	t.Helper()
	s := w.ended(t, c)
	last := s[len(s)-1]
	verdict, reason := "allowed", "error."+cause
	switch answer {
	case "block":
		verdict = "blocked"
	case "keep":
		reason = "kept"
	}
	if last.str("weir.verdict") != verdict || last.str("weir.reason") != reason {
		t.Errorf("told as %s by %s, want %s by %s:\n%v", last.str("weir.verdict"), last.str("weir.reason"), verdict, reason, s)
	}
	if answer != "keep" && last.str("security_rule.name") != "no-secrets" {
		t.Errorf("the rule told is %q", last.str("security_rule.name"))
	}
	await(t, "a count of "+verdict+" by "+reason, func() bool {
		return w.metric(t, "weir.connection.verdicts", "weir.verdict", "weir.reason")[verdict+" "+reason] > 0
	})
}

// askMuch sends more headers than are looked at.
func askMuch(t *testing.T, l *lab, at netip.AddrPort, begin func()) *net.TCPConn {
	begin()
	conn, err := l.dial(t, at)
	if err == nil {
		_, err = fmt.Fprintf(conn, "GET /ok HTTP/1.1\r\nHost: a.example\r\nX-Much: %s\r\n\r\n", strings.Repeat("x", 6000))
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// askSlowly sends the beginning of a request, and the rest when it is too late.
func askSlowly(t *testing.T, l *lab, at netip.AddrPort, begin func()) *net.TCPConn {
	begin()
	conn, err := l.dial(t, at)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET /ok HTTP/1.1\r\nHost:")
	time.Sleep(time.Second)
	io.WriteString(conn, " a.example\r\n\r\n") // fails where it was cut
	return conn
}

// askBefore opens a connection before Weir is there, and asks for what is forbidden
// then: nobody knows any more where in it a request begins.
func askBefore(t *testing.T, l *lab, at netip.AddrPort, begin func()) *net.TCPConn {
	conn, err := l.dial(t, at)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET /ok HTTP/1.1\r\nHost: a.example\r\n")
	begin()
	io.WriteString(conn, "\r\n")
	return conn
}

// TestHoldOverload: where more waits than there is room for, on_error.overload answers
// for the source that has most. Another is judged as ever.
func TestHoldOverload(t *testing.T) {
	for _, answer := range []string{"block", "allow"} {
		t.Run(answer, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			w := start(t, l.a, config{
				policy:   string(newPolicy(t, fmt.Sprintf(noSecrets, "{overload: "+answer+"}"))),
				receiver: "inspect: {max_bytes: 1048576, max_wait: 1m}",
			})
			// Weir's host is the server, so that there are two sources.
			at := netip.AddrPortFrom(l.address(l.a, ipv4, 0), 8080)
			other := netip.AddrPortFrom(l.address(l.a, ipv6, 0), 8080)
			l.servePages(t, l.a, at)
			l.servePages(t, l.a, other)
			l.b.netlink(t, func(n *netlink.Handle) error {
				link, err := n.LinkByName(farName)
				if err != nil {
					return err
				}
				// All that a connection may send before it hears anything.
				return n.RouteReplace(&netlink.Route{
					LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: at.Addr().AsSlice(), Mask: net.CIDRMask(32, 32)},
					InitCwnd: 44, Scope: netlink.SCOPE_LINK, Src: l.address(l.b, ipv4, 0).AsSlice(),
				})
			})
			dial := func(to netip.AddrPort) *net.TCPConn {
				d := l.b.dialTCP(to, patience)
				if d.err != nil {
					t.Fatal(d.err)
				}
				t.Cleanup(func() { d.conn.Close() })
				return d.conn
			}
			// A part of a request, which waits as well. The rest could not be sent later: its
			// sender's congestion control has given up by then (docs/prevention.md).
			io.WriteString(dial(other), "GET /ok HTTP/1.1\r\nHost:")
			much := []byte("GET /ok HTTP/1.1\r\nX: " + strings.Repeat("x", 60<<10))
			var greedy []*net.TCPConn
			over := func() bool {
				return w.metric(t, "weir.connection.verdicts", "weir.reason")["error.overload"] > 0
			}
			for len(greedy) < 3000 && (len(greedy)%200 > 0 || !over()) {
				c := dial(at)
				c.SetWriteDeadline(deadline(patience))
				go c.Write(much)
				greedy = append(greedy, c)
			}
			await(t, "an answer for the greedy", over)
			t.Logf("%d connections with %d bytes each are too much", len(greedy), len(much))
			verdict := map[string]string{"block": "blocked", "allow": "allowed"}[answer]
			last := w.awaitRecord(t, "overload", func(r record) bool {
				return r.event == "weir.connection.verdict" && r.str("weir.reason") == "error.overload"
			})
			if last.str("weir.verdict") != verdict || last.str("source.address") != l.address(l.b, ipv4, 0).String() {
				t.Errorf("told as %s: %s", last.str("weir.verdict"), last.body)
			}
			modest := dial(other)
			io.WriteString(modest, "GET /ok HTTP/1.1\r\nHost: a.example\r\n\r\n")
			modest.SetReadDeadline(deadline(patience))
			if r, err := http.ReadResponse(bufio.NewReader(modest), nil); err != nil || r.StatusCode != 200 {
				t.Errorf("who has little waiting is answered %v, %v", r, err)
			}
			for _, r := range w.records(t) {
				if r.str("source.address") == l.address(l.b, ipv6, 0).String() && r.str("weir.reason") == "error.overload" {
					t.Errorf("told of who has little: %s", r.body)
				}
			}
		})
	}
}
