package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Two policies that differ in what they say of port 8080.
const (
	open8080 = `
mode: prevent
reject: never
rules:
  - {name: other, action: allow, layer4: {tcp: 9090, udp: 9090}}
  - {name: open, action: allow, layer4: {tcp: 8080, udp: 8080}}
`
	shut8080 = `
mode: prevent
reject: outbound
rules:
  - {name: shut, action: block, layer4: {tcp: 8080, udp: 8080}}
  - {name: other, action: allow, layer4: {tcp: 9090, udp: 9090}}
`
)

// swaps are ways in which the content of a policy file comes to be another.
var swaps = map[string]func(t *testing.T) (path string, replace func(*testing.T, string)){
	"rename": func(t *testing.T) (string, func(*testing.T, string)) {
		p := newPolicy(t, open8080)
		return string(p), p.replace
	},
	// As a ConfigMap does: policy.yaml → data/policy.yaml, data → a folder.
	"symlink": func(t *testing.T) (string, func(*testing.T, string)) {
		folder, version := t.TempDir(), 0
		put := func(t *testing.T, text string) {
			version++
			data := filepath.Join(folder, fmt.Sprintf("data%d", version))
			err := errors.Join(os.Mkdir(data, 0o700),
				os.WriteFile(filepath.Join(data, "policy.yaml"), []byte(text), 0o600),
				os.Symlink(filepath.Base(data), filepath.Join(folder, "data.new")),
				os.Rename(filepath.Join(folder, "data.new"), filepath.Join(folder, "data")))
			if err != nil {
				t.Fatal(err)
			}
		}
		put(t, open8080)
		path := filepath.Join(folder, "policy.yaml")
		if err := os.Symlink("data/policy.yaml", path); err != nil {
			t.Fatal(err)
		}
		return path, put
	},
	"write": func(t *testing.T) (string, func(*testing.T, string)) {
		p := newPolicy(t, open8080)
		return string(p), func(t *testing.T, text string) {
			if err := os.WriteFile(string(p), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	},
}

// TestReload changes the policy under live connections, one of which it does not
// concern.
func TestReload(t *testing.T) {
	for name, prepare := range swaps {
		for _, direction := range []string{"outbound", "inbound"} {
			for _, f := range families {
				t.Run(fmt.Sprintf("%s/%s/%v", name, direction, f), func(t *testing.T) {
					t.Parallel()
					l := newLab(t)
					path, replace := prepare(t)
					w := start(t, l.a, config{policy: path})
					from, to := l.a, l.b
					if direction == "inbound" {
						from, to = l.b, l.a
					}
					at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(l.address(to, f, 0), port) }
					cut, spared := l.connect(t, from, to, at(8080)), l.connect(t, from, to, at(9090))
					cut.chat(t)
					spared.chat(t)
					replace(t, shut8080)
					w.awaitChange(t, "loaded", 2)

					cut.server.Write([]byte("x"))
					for _, end := range []struct {
						name string
						c    interface {
							SetReadDeadline(time.Time) error
							Read([]byte) (int, error)
						}
					}{{"client", cut.client}, {"server", cut.server}} {
						end.c.SetReadDeadline(time.Now().Add(patience))
						if n, err := end.c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
							t.Errorf("the %s reads %d bytes, %v; want a reset", end.name, n, err)
						}
					}
					s := w.ended(t, cut.tuple)
					if len(s) != 3 || s[1].event != "weir.connection.verdict" {
						t.Fatalf("want start, verdict, end; got\n%v", s)
					}
					before := expectation{
						direction: direction, mode: "prevent", generation: "1",
						verdict: "allowed", action: "allow", reason: "rule", rule: "open",
					}
					expectRecord(t, s[0], cut.tuple, before)
					after := before
					after.verdict, after.action, after.rule, after.generation, after.end = "blocked", "block", "shut", "2", "policy"
					after.source.packets, after.source.bytes = s[2].num("weir.source.packets"), s[2].num("weir.source.bytes")
					after.destination.packets, after.destination.bytes = s[2].num("weir.destination.packets"), s[2].num("weir.destination.bytes")
					expectRecord(t, s[1], cut.tuple, after)
					expectRecord(t, s[2], cut.tuple, after)

					// The connection that both policies allow goes on, and is told under
					// the new one at its end.
					spared.chat(t)
					e := before
					e.rule, e.end = "other", "fin"
					e.source, e.destination = spared.exchange(t, 1000, 1000)
					s = w.ended(t, spared.tuple)
					if len(s) != 2 {
						t.Fatalf("want start, end; got\n%v", s)
					}
					expectRecord(t, s[0], spared.tuple, e)
					e.generation = "2"
					expectRecord(t, s[1], spared.tuple, e)
				})
			}
		}
	}
}

// chat sends a byte each way.
func (p *pair) chat(t *testing.T) {
	t.Helper()
	for _, way := range []struct {
		name     string
		from, to interface {
			Write([]byte) (int, error)
			Read([]byte) (int, error)
			SetDeadline(time.Time) error
		}
	}{{"up", p.client, p.server}, {"down", p.server, p.client}} {
		way.from.SetDeadline(time.Now().Add(patience))
		way.to.SetDeadline(time.Now().Add(patience))
		_, err := way.from.Write([]byte{1})
		if err == nil {
			_, err = way.to.Read(make([]byte, 1))
		}
		if err != nil {
			t.Fatalf("%v, %s: %v", p.tuple, way.name, err)
		}
	}
}

// TestBlockedBecomesAllowed: a connection that was blocked in silence comes
// through when the policy allows it, and stays one connection.
func TestBlockedBecomesAllowed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	shut := "mode: prevent\nreject: never\nrules:\n  - {name: shut, action: block, layer4: {tcp: 8080, udp: 8080}}\n" +
		"  - {name: other, action: allow, layer4: icmp}\n"
	p := newPolicy(t, shut)
	w := start(t, l.a, config{policy: string(p), timeouts: "{tcp: 60s, tcp_closing: 20s, udp: 20s, icmp: 1s}"})
	at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080)
	l.b.echoUDP(t, at)
	c := l.a.dialUDP(t, at)
	if err := ask(c, 1, silence); !isTimeout(err) {
		t.Fatalf("the blocked socket says %v", err)
	}
	listener := l.b.listenTCP(t, at)
	connected := make(chan dial, 1)
	go func() { connected <- l.a.dialTCP(at, patience) }()
	var tcp tuple
	w.awaitRecord(t, "the blocked connect()", func(r record) bool {
		tcp = tuple{"tcp", netip.AddrPortFrom(l.address(l.a, ipv4, 0), uint16(r.num("source.port"))), at}
		return tcp.is(r)
	})
	p.replace(t, open8080)
	w.awaitChange(t, "loaded", 2)
	if err := ask(c, 1, patience); err != nil {
		t.Fatalf("the allowed socket says %v", err)
	}
	d := <-connected // TCP sends its SYN again by itself
	if d.err != nil {
		t.Fatalf("connect: %v", d.err)
	}
	listener.SetDeadline(time.Now().Add(patience))
	server, err := listener.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	both := &pair{tuple: tcp, client: d.conn, server: server, near: d.conn, again: d.segments - 2}
	source, destination := both.exchange(t, 10, 10)
	s := w.ended(t, tcp)
	if len(s) != 3 || s[1].event != "weir.connection.verdict" {
		t.Fatalf("want start, verdict, end; got\n%v", s)
	}
	e := expectation{
		direction: "outbound", mode: "prevent", generation: "1", verdict: "blocked", action: "block", reason: "rule", rule: "shut",
	}
	expectRecord(t, s[0], tcp, e)
	e.generation, e.verdict, e.action, e.rule, e.end = "2", "allowed", "allow", "open", "fin"
	e.source, e.destination = source, destination
	expectRecord(t, s[2], tcp, e)
	e.source = counts{s[1].num("weir.source.packets"), s[1].num("weir.source.bytes")}
	e.destination = counts{}
	expectRecord(t, s[1], tcp, e)
	if n := len(w.story(t, udpTuple(c)).of("verdict")); n != 1 {
		t.Errorf("%d verdicts of the UDP connection after the change, want 1", n)
	}
}
