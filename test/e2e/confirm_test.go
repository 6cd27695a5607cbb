package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shutAll allows nothing.
const shutAll = "mode: prevent\nrules: [{name: none, action: block}]\n"

// TestConfirm lets changes return, and confirms them in each way.
func TestConfirm(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, within time.Duration) (*lab, policyFile, *weir) {
		l := newLab(t)
		p := newPolicy(t, open8080)
		return l, p, start(t, l.a, config{policy: string(p), extension: fmt.Sprintf("confirm_within: %v", within)})
	}
	t.Run("rolled back", func(t *testing.T) {
		t.Parallel()
		l, p, w := begin(t, 3*time.Second)
		kept := l.connect(t, l.b, l.a, netip.AddrPortFrom(l.address(l.a, ipv4, 0), 8080))
		kept.chat(t)
		// With the way back this may even lock everybody out.
		p.replace(t, shutAll)
		loaded := w.awaitChange(t, "loaded", 2)
		// Nothing is sent meanwhile: the connection must live through it.
		back := w.awaitChange(t, "rolled_back", 3)
		if took := back.time.Sub(loaded.time); took < 3*time.Second {
			t.Errorf("rolled back after %v", took)
		}
		if back.severity != "WARN" {
			t.Errorf("severity %s", back.severity)
		}
		kept.chat(t)
		l.enforces(t, open8080)
		s := w.ended(t, func() tuple { kept.exchange(t, 1, 1); return kept.tuple }())
		if v := s[len(s)-1].str("weir.verdict"); v != "allowed" {
			t.Errorf("the connection ends %s", v)
		}
	})
	for name, confirm := range map[string]func(*testing.T, policyFile, *weir){
		"touched": func(t *testing.T, p policyFile, _ *weir) {
			if err := os.WriteFile(string(p)+".confirm", nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"signalled": func(t *testing.T, _ policyFile, w *weir) { w.signal(t, unix.SIGUSR1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, p, w := begin(t, 20*time.Second)
			p.replace(t, shut8080)
			w.awaitChange(t, "loaded", 2)
			l.enforces(t, shut8080)
			confirm(t, p, w)
			w.awaitChange(t, "confirmed", 2)
			l.enforces(t, shut8080)
			for _, r := range w.records(t) {
				if r.str("weir.policy.outcome") == "rolled_back" {
					t.Error(r.body)
				}
			}
		})
	}
}

// TestLockOut: a policy that allows nothing is not taken, at the start and
// later, unless it was confirmed beforehand.
func TestLockOut(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := newPolicy(t, shutAll)
	late := launch(t, l.a, config{policy: string(p)})
	late.mayFail = true
	late.awaitExit(t)
	if late.err == nil || !containsAll(late.log(), []string{"lock everybody out", string(p) + ".confirm"}) {
		t.Fatalf("it ended with %v\n%s", late.err, tail(late.log(), 5))
	}
	// The touch has to be later than the file by the file system's clock.
	confirm := func() {
		now := time.Now().Add(time.Second)
		if err := os.WriteFile(string(p)+".confirm", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(string(p)+".confirm", now, now); err != nil {
			t.Fatal(err)
		}
	}
	confirm()
	w := start(t, l.a, config{policy: string(p)})
	d := l.a.dialTCP(netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080), patience)
	if d.err == nil {
		t.Error("connected")
	}
	p.replace(t, open8080)
	w.awaitChange(t, "loaded", 2)
	time.Sleep(time.Second) // so that the next file is later than the touch
	p.replace(t, shutAll)
	w.awaitChange(t, "refused", 0)
	l.enforces(t, open8080)
	confirm()
	w.awaitChange(t, "loaded", 3)
}

// TestWarnsOfCuts: before a policy cuts live inbound connections, the log names
// them.
func TestWarnsOfCuts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := newPolicy(t, open8080)
	cut := l.connect(t, l.b, l.a, netip.AddrPortFrom(l.address(l.a, ipv4, 0), 22))
	cut6 := l.connect(t, l.b, l.a, netip.AddrPortFrom(l.address(l.a, ipv6, 0), 22))
	l.connect(t, l.b, l.a, netip.AddrPortFrom(l.address(l.a, ipv4, 0), 8080))
	// Its server still listens, as sshd does.
	for _, f := range families {
		l.a.listenTCP(t, netip.AddrPortFrom(l.address(l.a, f, 0), 22))
		l.a.listenTCP(t, netip.AddrPortFrom(l.address(l.a, f, 0), 8080))
	}
	w := start(t, l.a, config{policy: string(p)})
	w.awaitLog(t, "warn", "cuts live inbound connections", `"count": 2`,
		fmt.Sprintf("tcp %v from %v", cut.tuple.destination, cut.tuple.source),
		fmt.Sprint(cut6.tuple.destination), fmt.Sprint(cut6.tuple.source))
	p.replace(t, shut8080)
	w.awaitLog(t, "warn", "cuts live inbound connections", `"count": 3`)
}
