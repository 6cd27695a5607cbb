package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCutInTheMiddle cuts transfers that run at full speed, whose packets are
// superpackets: both ends are reset at once, and not a byte comes through after
// that.
func TestCutInTheMiddle(t *testing.T) {
	for _, f := range families {
		for _, way := range []string{"outbound up", "outbound down", "inbound up", "inbound down"} {
			t.Run(fmt.Sprintf("%v/%s", f, way), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				file := newPolicy(t, open8080)
				w := start(t, l.a, config{policy: string(file)})
				from, to := l.a, l.b
				if way[:2] == "in" {
					from, to = l.b, l.a
				}
				p := l.connect(t, from, to, netip.AddrPortFrom(l.address(to, f, 0), 8080))
				sender, receiver := p.client, p.server
				if way[len(way)-2:] != "up" {
					sender, receiver = receiver, sender
				}
				var received atomic.Int64
				ends := make(chan error, 2)
				go func() {
					block := make([]byte, 1<<20)
					for {
						if _, err := sender.Write(block); err != nil {
							ends <- err
							return
						}
					}
				}()
				go func() {
					_, err := io.Copy(counter{&received}, receiver)
					ends <- err
				}()
				await(t, "the transfer", func() bool { return received.Load() > 10<<20 })
				file.replace(t, shut8080)
				for range 2 {
					select {
					case err := <-ends:
						if !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
							t.Errorf("an end says %v, want that it was reset", err)
						}
					case <-time.After(patience):
						t.Fatal("an end was not reset")
					}
				}
				s := w.ended(t, p.tuple)
				last := s[len(s)-1]
				if last.str("weir.end_reason") != "policy" || len(s) != 3 {
					t.Errorf("told as:\n%v", s)
				}
			})
		}
	}
}

// counter counts what is written to it.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

var _ io.Writer = counter{}

// TestBlockedFragments: no fragment of a blocked datagram comes through, whatever
// its size, and none that has lost its first.
func TestBlockedFragments(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := start(t, l.a, config{policy: string(newPolicy(t, shut8080))})
	for _, f := range families {
		for direction, hosts := range map[string][2]*host{"outbound": {l.a, l.b}, "inbound": {l.b, l.a}} {
			at := netip.AddrPortFrom(l.address(hosts[1], f, 0), 8080)
			echo := hosts[1].echoUDP(t, at)
			c := hosts[0].dialUDP(t, at)
			const size = 4000
			if err := ask(c, size, silence); err == nil {
				t.Error("a blocked datagram was answered")
			}
			if n := echo.received.Load(); n > 0 {
				t.Errorf("%d datagrams came through", n)
			}
			e := expectation{
				direction: direction, mode: "prevent", verdict: "blocked", action: "block", reason: "rule", rule: "shut",
				generation: "1", end: "blocked", source: counts{3, 3*20 + 8 + size},
			}
			if f == ipv6 {
				e.source = counts{3, 3*48 + 8 + size}
			}
			if direction == "outbound" {
				// The first is answered, and the kernel stops sending at the second, which is
				// dropped, or already at the answer.
				each := map[family]int64{ipv4: 20 + 1480, ipv6: 48 + 1448}[f]
				story := w.ended(t, udpTuple(c))
				sent := min(max(story[len(story)-1].num("weir.source.packets"), 1), 2)
				e.source = counts{sent, sent * each}
			}
			w.expect(t, udpTuple(c), e)
			// The same size to a port that is allowed passes.
			open := netip.AddrPortFrom(at.Addr(), 9090)
			hosts[1].echoUDP(t, open)
			if err := ask(hosts[0].dialUDP(t, open), size, patience); err != nil {
				t.Errorf("an allowed datagram: %v", err)
			}
		}
	}
}

// TestFloodIsTold: every one of many blocked attempts is told, once, and those
// that answers are due to are answered until the sender's rate is used up.
func TestFloodIsTold(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := start(t, l.a, config{
		policy: string(newPolicy(t, "{mode: prevent, reject: always, rules: [{name: a, action: allow, layer4: {tcp: 1}}]}")),
	})
	at := netip.AddrPortFrom(l.address(l.a, ipv4, 0), 8080)
	const attempts = 3000
	sources := map[netip.AddrPort]bool{}
	for range attempts {
		c := l.b.dialUDP(t, at)
		c.Write([]byte("x"))
		sources[udpTuple(c).source] = true
		c.Close()
	}
	starts, ends := map[netip.AddrPort]int{}, map[netip.AddrPort]int{}
	awaitOr(t, func() bool {
		clear(starts)
		clear(ends)
		for _, r := range w.records(t) {
			if r.num("destination.port") != 8080 {
				continue
			}
			source := netip.AddrPortFrom(netip.MustParseAddr(r.str("source.address")), uint16(r.num("source.port")))
			n := max(1, int(r.num("weir.connection.count")))
			switch r.event {
			case "weir.connection.start":
				starts[source] += n
			case "weir.connection.end":
				ends[source] += n
			}
		}
		return len(ends) == len(sources)
	}, func() { t.Fatalf("%d sources, %d starts, %d ends", len(sources), len(starts), len(ends)) })
	total := 0
	for source := range sources {
		if starts[source] != ends[source] {
			t.Errorf("%v: %d starts, %d ends", source, starts[source], ends[source])
		}
		total += starts[source]
	}
	t.Logf("%d attempts from %d sources are told as %d connections", attempts, len(sources), total)
}
