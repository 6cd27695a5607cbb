package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// blockAll allows no more than it must to be accepted.
const blockAll = `
mode: prevent
safeguards: {%s}
rules:
  - {name: little, action: allow, layer4: {udp: [7000, 7001]}}
`

// TestSafeguards: what a policy that blocks by default lets through all the
// same, and what it does not when a safeguard is switched off.
func TestSafeguards(t *testing.T) {
	t.Run("icmp-errors", func(t *testing.T) {
		for _, on := range []bool{true, false} {
			t.Run(fmt.Sprint(on), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				start(t, l.a, config{policy: string(newPolicy(t, fmt.Sprintf(blockAll, fmt.Sprintf("icmp-errors: %t", on))))})
				for _, f := range families {
					for _, from := range []*host{l.a, l.b} {
						to := l.b
						if from == l.b {
							to = l.a
						}
						// Nobody listens there, which the other host says, but not always:
						// it limits its rate.
						c := from.dialUDP(t, netip.AddrPortFrom(l.address(to, f, 0), 7000))
						err := ask(c, 10, silence)
						for tries := 0; on && isTimeout(err) && tries < 5; tries++ {
							err = ask(c, 10, silence)
						}
						if on && !errors.Is(err, unix.ECONNREFUSED) {
							t.Errorf("%v: the socket says %v, want that the port is unreachable", f, err)
						}
						if !on && !isTimeout(err) {
							t.Errorf("%v: the socket says %v, want nothing", f, err)
						}
					}
				}
			})
		}
	})
	t.Run("dhcp", func(t *testing.T) {
		for _, on := range []bool{true, false} {
			t.Run(fmt.Sprint(on), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				start(t, l.a, config{policy: string(newPolicy(t, fmt.Sprintf(blockAll, fmt.Sprintf("dhcp: %t", on))))})
				if got := l.broadcasts(t, 68, 67); got != on {
					t.Errorf("a broadcast from port 68 to port 67 came through: %t", got)
				}
				if l.broadcasts(t, 168, 167) {
					t.Error("another broadcast came through")
				}
			})
		}
	})
	t.Run("neighbor-discovery", func(t *testing.T) {
		for _, on := range []bool{true, false} {
			t.Run(fmt.Sprint(on), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				start(t, l.a, config{policy: string(newPolicy(t, fmt.Sprintf(blockAll, fmt.Sprintf("neighbor-discovery: %t", on))))})
				at := netip.AddrPortFrom(l.address(l.b, ipv6, 0), 7000)
				l.b.echoUDP(t, at)
				err := ask(l.a.dialUDP(t, at), 10, 2*silence)
				if answered := err == nil; answered != on {
					t.Errorf("the neighbor was found: %t (%v)", answered, err)
				}
			})
		}
	})
	t.Run("loopback", func(t *testing.T) {
		for _, on := range []bool{true, false} {
			t.Run(fmt.Sprint(on), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				w := start(t, l.a, config{
					policy:     string(newPolicy(t, fmt.Sprintf(blockAll, fmt.Sprintf("loopback: %t", on)))),
					interfaces: "{include: [lo, weir0]}",
				})
				for _, local := range []string{"127.0.0.1", "::1", l.address(l.a, ipv4, 0).String()} {
					at := netip.AddrPortFrom(netip.MustParseAddr(local), 8080)
					if !on {
						if d := l.a.dialTCP(at, 5*time.Second); !errors.Is(d.err, unix.ECONNREFUSED) {
							t.Errorf("connect to %v: %v, want it refused", at, d.err)
						}
						continue
					}
					p := l.connect(t, l.a, l.a, at)
					// Both ends are here: each packet is sent and received by the
					// same interface, and counted once.
					p.near = p.client
					source, destination := p.exchange(t, 100000, 200000)
					w.expect(t, p.tuple, expectation{
						direction: "outbound", mode: "prevent", verdict: "allowed", action: "allow", reason: "safeguard",
						rule: "weir:loopback", generation: "1", end: "fin", iface: "lo", source: source, destination: destination,
					})
				}
			})
		}
	})
}

// broadcasts sends a datagram from a to everybody, and says whether b saw it.
func (l *lab) broadcasts(t *testing.T, from, to uint16) bool {
	t.Helper()
	listen := func(h *host, at string) (c net.PacketConn) {
		var err error
		h.run(func() {
			config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
				return raw.Control(func(fd uintptr) {
					unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
					if h == l.a {
						unix.BindToDevice(int(fd), nearName)
					}
				})
			}}
			c, err = config.ListenPacket(t.Context(), "udp4", at)
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	server := listen(l.b, fmt.Sprintf("0.0.0.0:%d", to))
	client := listen(l.a, fmt.Sprintf("0.0.0.0:%d", from))
	client.WriteTo([]byte("discover"), &net.UDPAddr{IP: net.IPv4bcast, Port: int(to)}) // may say that it was dropped
	server.SetReadDeadline(deadline(silence))
	_, _, err := server.ReadFrom(make([]byte, 100))
	return err == nil
}

// TestExport: Weir's own connections pass a policy that blocks everything, and
// nobody else's to the same place.
func TestExport(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 4318)
	var requests atomic.Int64
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.HasPrefix(r.URL.Path, "/v1/") && len(body) > 0 {
			requests.Add(1)
		}
	})}
	go server.Serve(l.b.listenTCP(t, at))
	t.Cleanup(func() { server.Close() })
	w := start(t, l.a, config{
		policy:   string(newPolicy(t, fmt.Sprintf(blockAll, ""))),
		receiver: "on_shutdown: unload",
		exporter: fmt.Sprintf("otlp_http: {endpoint: 'http://%v', compression: none}", at),
	})
	await(t, "exports", func() bool { return requests.Load() >= 3 })
	if d := l.a.dialTCP(at, patience); !errors.Is(d.err, unix.ECONNREFUSED) {
		t.Errorf("another process's connect: %v", d.err)
	}
	r := w.awaitRecord(t, "the export's connection", func(r record) bool {
		return r.event == "weir.connection.start" && r.num("destination.port") == 4318 && r.str("weir.verdict") == "allowed"
	})
	if r.str("security_rule.name") != "weir:export" || r.str("weir.reason") != "safeguard" {
		t.Errorf("told as %s", r.body)
	}
	// After a SIGHUP it is still its own.
	w.signal(t, unix.SIGHUP)
	w.awaitReady(t, 2)
	before := requests.Load()
	await(t, "exports after SIGHUP", func() bool { return requests.Load() >= before+3 })
}
