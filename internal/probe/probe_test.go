package probe

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// TestSingleFlight: who asks while a probe is under way gets its answer, and who asks
// later the one that is remembered.
func TestSingleFlight(t *testing.T) {
	good := (*issuer)(nil).issue(t, "a.example", nil)
	release := make(chan struct{})
	s := serve(t, func(c net.Conn) {
		<-release
		tls.Server(c, &tls.Config{Certificates: []tls.Certificate{good.with()}}).Handshake()
	})
	p := newProber(t, Config{})
	var asked sync.WaitGroup
	var seen, cached atomic.Int32
	const askers = 50
	asked.Add(askers)
	for range askers {
		if _, now := p.Ask(s.asked("a.example"), func(a Answer) {
			if a.Outcome == Seen {
				seen.Add(1)
			}
			if a.Cached {
				cached.Add(1)
			}
			asked.Done()
		}); now {
			t.Fatal("there is an answer already")
		}
	}
	if n := p.Stats().Running; n != 1 {
		t.Errorf("%d probes are under way", n)
	}
	close(release)
	asked.Wait()
	if seen.Load() != askers || cached.Load() != 0 || s.taken.Load() != 1 {
		t.Errorf("%d saw it, %d a cached one, by %d connections", seen.Load(), cached.Load(), s.taken.Load())
	}
	if a := p.ask(t, s.asked("a.example")); !a.Cached || a.Outcome != Seen || a.Shown == nil {
		t.Errorf("%+v", a)
	}
	// Another name is another question.
	if a := p.ask(t, s.asked("b.example")); a.Cached || a.Outcome != Seen {
		t.Errorf("%+v", a)
	}
	if st := p.Stats(); st.Joined != askers-1 || st.Cached != 1 || st.Probes["seen"] != 2 || st.Remembered != 2 || st.Running != 0 {
		t.Errorf("%+v", st)
	}
}

// TestForgets: neither a certificate nor a failure is remembered for longer than it
// should be.
func TestForgets(t *testing.T) {
	var broken atomic.Bool
	good := (*issuer)(nil).issue(t, "a.example", nil)
	s := serve(t, func(c net.Conn) {
		if !broken.Load() {
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{good.with()}}).Handshake()
		}
	})
	const keep = 2 * time.Second
	p := newProber(t, Config{KeepFor: keep, KeepFailureFor: keep})
	expect := func(o Outcome, cached bool, connections int32) {
		t.Helper()
		if a := p.ask(t, s.asked("a.example")); a.Outcome != o || a.Cached != cached || s.taken.Load() != connections {
			t.Fatalf("%v, cached: %v, %d connections", a.Outcome, a.Cached, s.taken.Load())
		}
	}
	expect(Seen, false, 1)
	expect(Seen, true, 1)
	broken.Store(true)
	time.Sleep(keep + 50*time.Millisecond)
	expect(Broken, false, 2)
	broken.Store(false)
	expect(Broken, true, 2)
	time.Sleep(keep + 50*time.Millisecond)
	expect(Seen, false, 3)
}

// TestRate: a destination is not asked for more and more names.
func TestRate(t *testing.T) {
	good := (*issuer)(nil).issue(t, "a.example", nil)
	s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{good.with()}})
	p := newProber(t, Config{Burst: 3, Every: time.Hour})
	counts := map[Outcome]int{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		counts[p.ask(t, s.asked(name)).Outcome]++
	}
	if counts[Seen] != 3 || counts[RateLimited] != 2 || s.taken.Load() != 3 {
		t.Errorf("%v by %d connections", counts, s.taken.Load())
	}
	if a := p.ask(t, s.asked("a")); a.Outcome != Seen {
		t.Errorf("what is remembered is %v", a.Outcome)
	}
}

func TestRates(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newRates(2, time.Second)
	at := netip.MustParseAddrPort("192.0.2.1:443")
	for i, want := range []bool{true, true, false} {
		if r.take(at, now) != want {
			t.Errorf("question %d: not %v", i, want)
		}
	}
	if !r.take(at, now.Add(time.Second)) || r.take(at, now.Add(time.Second)) {
		t.Error("a second later it may be asked once")
	}
	for i := range 2 * maxRates {
		r.take(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 443), now)
	}
	if len(r.of) != maxRates || r.order.Len() != maxRates {
		t.Errorf("%d are remembered", len(r.of))
	}
}

// TestCrowd: no more probes are under way than there may be; others wait for their
// turn, as long as they may, and what is too much is refused.
func TestCrowd(t *testing.T) {
	var most, now atomic.Int32
	release := make(chan struct{})
	s := serve(t, func(c net.Conn) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		c.Read(make([]byte, 1))
		<-release
	})
	p := newProber(t, Config{Running: 2, Waiting: 3, Burst: 100, Timeout: 30 * time.Second})
	counts := map[Outcome]int{}
	var mu sync.Mutex
	var asked sync.WaitGroup
	for i := range 8 {
		asked.Add(1)
		count := func(a Answer) {
			mu.Lock()
			defer mu.Unlock()
			counts[a.Outcome]++
			asked.Done()
		}
		if a, at := p.Ask(s.asked(string(rune('a'+i))), count); at {
			count(a)
		}
	}
	close(release)
	asked.Wait()
	if counts[Broken] != 5 || counts[Busy] != 3 || most.Load() > 2 {
		t.Errorf("%v, %d at once", counts, most.Load())
	}
}

// TestTurn: whose turn does not come is told so, and may ask again at once.
func TestTurn(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(net.Conn) { <-release })
	p := newProber(t, Config{Running: 1, Timeout: 2 * time.Second})
	slow := make(chan Answer, 1)
	p.Ask(s.asked("a.example"), func(a Answer) { slow <- a })
	for s.taken.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	p.slots <- struct{}{} // as soon as the first is through
	if a := <-slow; a.Outcome != TimedOut {
		t.Errorf("the first: %v", a.Outcome)
	}
	for range 2 {
		if a := p.ask(t, s.asked("b.example")); a.Outcome != Busy || a.Cached || a.Outcome.Cause() != policy.Overload {
			t.Errorf("the second: %v, cached: %v", a.Outcome, a.Cached)
		}
	}
	<-p.slots
	close(release)
}

// TestClose: nothing is left of probes that are under way, and nobody is told.
func TestClose(t *testing.T) {
	s := serve(t, func(c net.Conn) { c.Read(make([]byte, 1)); time.Sleep(50 * time.Millisecond) })
	p := New(Config{})
	told := make(chan Answer, 1)
	p.Ask(s.asked("a.example"), func(a Answer) { told <- a })
	for s.taken.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	p.Close()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	select {
	case a := <-told:
		t.Errorf("somebody was told %+v", a)
	default:
	}
	if a := p.ask(t, s.asked("b.example")); a.Outcome != Stopped {
		t.Errorf("%+v", a)
	}
}
