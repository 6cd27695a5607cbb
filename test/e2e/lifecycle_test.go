package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// life is the mode and setting under which a Collector lives and dies.
type life struct {
	mode, onShutdown string
	stays            bool // what is in the kernel, when the process ends
}

var lives = []life{
	{"prevent", "keep", true},
	{"prevent", "auto", true},
	{"prevent", "unload", false},
	{"detect", "auto", false},
	{"detect", "keep", true},
}

const (
	cycles = 10
	// warm is how many cycles it takes until the kernel has the names of three
	// policies, and from then on no more.
	warm = 2
)

// begin starts it with a policy that blocks port 8080 and allows 9090.
func (c life) begin(t *testing.T, l *lab) *weir {
	t.Helper()
	p := newPolicy(t, "mode: "+c.mode+shut8080[len("\nmode: prevent"):])
	return start(t, l.a, config{
		policy: string(p), receiver: "on_shutdown: " + c.onShutdown, extensions: "pprof: {endpoint: 127.0.0.1:1777}",
	})
}

// expectation of a connection to port 9090.
func (c life) expectation() expectation {
	e := expectation{
		direction: "outbound", mode: c.mode, verdict: "allowed", action: "allow", reason: "rule", rule: "other",
		generation: "1", end: "fin",
	}
	if c.mode == "detect" {
		e.verdict = "detected"
	}
	return e
}

// size is what a process holds on to.
type size struct {
	Objects           map[string]int
	Files, Goroutines int
}

func sizeOf(t *testing.T, w *weir) size {
	return size{tally(objects(t, w.pid())), fds(t, w.pid()), goroutines(t, w.host)}
}

// TestSIGHUP makes all components anew, again and again, in the same process.
// Nothing is left behind, nothing is let through, no connection is forgotten.
func TestSIGHUP(t *testing.T) {
	for _, c := range lives {
		t.Run(c.mode+" "+c.onShutdown, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			w := c.begin(t, l)
			f := l.flood(t, l.b, l.a, netip.AddrPortFrom(l.address(l.a, ipv4, 0), 8080))
			kept := l.connect(t, l.a, l.b, netip.AddrPortFrom(l.address(l.b, ipv4, 0), 9090))
			f.await(t, 100)
			seen := map[object]string{}
			var first size
			for i := range cycles {
				maps.Copy(seen, objects(t, w.pid()))
				w.signal(t, unix.SIGHUP)
				w.awaitReady(t, i+2)
				kept.chat(t)
				if i < warm {
					first = sizeOf(t, w)
					continue
				}
				// What is about to end is not a leak.
				var now size
				awaitOr(t, func() bool {
					now = sizeOf(t, w)
					return cmp.Equal(now.Objects, first.Objects) && now.Files <= first.Files+2 && now.Goroutines <= first.Goroutines+2
				}, func() { t.Fatalf("after SIGHUP %d there is %v, at first there was %v", i+1, now, first) })
				if in, out := l.a.attached(t, nearName); in != 1 || out != 1 {
					t.Fatalf("%d programs in ingress, %d in egress", in, out)
				}
			}
			f.await(t, 100)
			f.check(t, c.mode == "prevent")
			if c.mode == "prevent" {
				l.enforces(t, shut8080)
			}
			for o := range objects(t, w.pid()) {
				delete(seen, o) // taken over
			}
			awaitGone(t, seen)
			e := c.expectation()
			e.source, e.destination = kept.exchange(t, 10, 10)
			w.expect(t, kept.tuple, e)
		})
	}
}

// TestStartStop ends and starts the Collector, by turns with notice and without.
// What is to go goes with it; what is to stay stays and enforces, and the next
// one takes it over without a gap, connections and all.
func TestStartStop(t *testing.T) {
	for _, c := range lives {
		t.Run(c.mode+" "+c.onShutdown, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			w := c.begin(t, l)
			f := l.flood(t, l.b, l.a, netip.AddrPortFrom(l.address(l.a, ipv4, 0), 8080))
			kept := l.connect(t, l.a, l.b, netip.AddrPortFrom(l.address(l.b, ipv4, 0), 9090))
			seen := map[object]string{}
			var first size
			for i := range cycles {
				f.await(t, 100)
				maps.Copy(seen, objects(t, w.pid()))
				if c.stays && i%2 == 1 {
					w.kill(t)
				} else {
					w.stop(t)
				}
				in, out := l.a.attached(t, nearName)
				if c.stays != (in == 1 && out == 1) || in > 1 || out > 1 {
					t.Fatalf("%d programs in ingress, %d in egress, of a Collector that is gone", in, out)
				}
				if !c.stays {
					awaitGone(t, seen)
				}
				f.await(t, 100)
				kept.chat(t)
				w.restart(t)
				kept.chat(t)
				now := sizeOf(t, w)
				if i < warm {
					first = now
				}
				if !cmp.Equal(now.Objects, first.Objects) {
					t.Fatalf("after %d times there is %v, at first there was %v", i+1, now, first)
				}
			}
			for o := range objects(t, w.pid()) {
				delete(seen, o)
			}
			awaitGone(t, seen)
			f.check(t, c.mode == "prevent" && c.stays)
			if c.stays {
				e := c.expectation()
				e.source, e.destination = kept.exchange(t, 10, 10)
				w.expect(t, kept.tuple, e)
			}
		})
	}
}

// check ends the flood: either nothing came through all the time, or something.
func (f *flood) check(t *testing.T, blocked bool) {
	t.Helper()
	came := f.end()
	if blocked && came > 0 {
		t.Errorf("%d of %d datagrams came through", came, f.sent.Load())
	}
	if !blocked && came == 0 {
		t.Errorf("none of %d datagrams came through", f.sent.Load())
	}
}

// TestDeadAgent: connections that begin and end while no process is there are
// enforced, and told by the next one.
func TestDeadAgent(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := life{mode: "prevent", onShutdown: "auto", stays: true}
	w := c.begin(t, l)
	w.kill(t)
	p := l.connect(t, l.a, l.b, netip.AddrPortFrom(l.address(l.b, ipv4, 0), 9090))
	source, destination := p.exchange(t, 5000, 5000)
	at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080)
	d := l.a.dialTCP(at, patience)
	if d.err == nil {
		t.Error("connected")
	}
	w.restart(t)
	e := c.expectation()
	e.source, e.destination = source, destination
	w.expect(t, p.tuple, e)
	e.verdict, e.action, e.rule, e.end = "blocked", "block", "shut", "blocked"
	e.source, e.destination = d.syn(ipv4), counts{}
	w.expect(t, tuple{"tcp", d.source, at}, e)
}

// TestUnloadLeavesNothing looks at the whole BPF file system, so it runs before
// those that run in parallel.
func TestUnloadLeavesNothing(t *testing.T) {
	l := newLab(t)
	before := pins(t)
	for _, c := range lives {
		w := c.begin(t, l)
		w.partial = true
		// What prevents outlives a process that is killed.
		if kept := len(newPins(t, before)) > 0; kept != (c.stays || c.mode == "prevent") {
			t.Errorf("%v: pins while it runs: %t", c, kept)
		}
		w.stop(t)
		if kept := len(newPins(t, before)) > 0; kept != c.stays {
			t.Errorf("%v: pins after its end: %t", c, kept)
		}
	}
	// The last one kept. One that unloads takes all that away.
	w := life{"detect", "unload", false}.begin(t, l)
	w.partial = true
	w.stop(t)
	if left := newPins(t, before); len(left) > 0 {
		t.Errorf("pins left: %v", left)
	}
	if in, out := l.a.attached(t, nearName); in != 0 || out != 0 {
		t.Errorf("%d programs in ingress, %d in egress", in, out)
	}
}

// goroutines is how many the Collector on that host has.
func goroutines(t *testing.T, h *host) int {
	t.Helper()
	var n int
	text := h.get(t, "http://127.0.0.1:1777/debug/pprof/goroutine?debug=1")
	if _, err := fmt.Sscanf(text, "goroutine profile: total %d", &n); err != nil {
		t.Fatalf("read the number of goroutines: %v in %.100s", err, text)
	}
	return n
}
