package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTimedChangesOfADeadAgent: a rule ends, and a change that nobody confirmed
// returns, at their time, although the Collector was killed before.
func TestTimedChangesOfADeadAgent(t *testing.T) {
	t.Parallel()
	t.Run("expiry", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		file := newPolicy(t, "mode: detect\n")
		w := start(t, l.a, config{policy: string(file)})
		expires := time.Now().Add(12 * time.Second).Truncate(time.Second)
		file.replace(t, fmt.Sprintf(`
mode: prevent
rules:
  - {name: visit, action: allow, expires: %s, layer4: {tcp: 8080}}
  - {name: other, action: allow, layer4: {tcp: 9090}}
`, expires.UTC().Format(time.RFC3339)))
		w.awaitChange(t, "loaded", 2)
		kept := l.connect(t, l.a, l.b, netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080))
		w.kill(t)
		kept.chat(t)
		if time.Now().After(expires) {
			t.Fatal("the machine is too slow: the rule ended before the Collector was killed")
		}
		time.Sleep(time.Until(expires.Add(100 * time.Millisecond)))
		l.enforces(t, shut8080)
		kept.isCut(t)
	})
	t.Run("unconfirmed", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		file := newPolicy(t, open8080)
		w := start(t, l.a, config{policy: string(file), extension: "confirm_within: 8s"})
		at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080)
		kept := l.connect(t, l.a, l.b, at)
		file.replace(t, shutAll)
		loaded := w.awaitChange(t, "loaded", 2)
		w.kill(t)
		if d := l.a.dialTCP(at, time.Second); d.err == nil {
			if time.Since(loaded.time) < 7*time.Second {
				t.Error("connected under a policy that blocks all")
			}
		} else if !errors.Is(d.err, unix.ECONNREFUSED) {
			t.Errorf("connect: %v", d.err)
		}
		// Nothing was sent on it meanwhile.
		time.Sleep(time.Until(loaded.time.Add(8500 * time.Millisecond)))
		l.enforces(t, open8080)
		kept.chat(t)
	})
}
