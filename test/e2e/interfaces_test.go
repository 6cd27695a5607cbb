package e2e

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestInterfaces: one that is named but missing is no error, and is watched when
// it comes; it is followed when it is renamed, removed and made anew.
func TestInterfaces(t *testing.T) {
	t.Parallel()
	needKernel(t)
	l := &lab{a: newHost(t), b: newHost(t)}
	w := start(t, l.a, config{
		interfaces: "{include: [late0, 'wan*'], exclude: ['wan9']}",
		policy:     string(newPolicy(t, shut8080)), receiver: "on_shutdown: unload",
	})
	watched := func(name string, times int) {
		t.Helper()
		awaitOr(t, func() bool {
			in, out := l.a.attached(t, name)
			return in == times && out == times
		}, func() { t.Fatalf("%s has other than %d programs in its hooks", name, times) })
	}
	// check makes an allowed connection and sees what is told of it.
	check := func(network int, iface string) {
		t.Helper()
		for _, f := range families {
			p := l.connect(t, l.a, l.b, netip.AddrPortFrom(l.address(l.b, f, network), 9090))
			source, destination := p.exchange(t, 10, 10)
			w.expect(t, p.tuple, expectation{
				direction: "outbound", mode: "prevent", verdict: "allowed", action: "allow", reason: "rule", rule: "other",
				generation: "1", end: "fin", source: source, destination: destination, iface: iface,
			})
			d := l.a.dialTCP(netip.AddrPortFrom(l.address(l.b, f, network), 8080), patience)
			if d.err == nil {
				t.Error("connected")
			}
		}
	}
	rename := func(from, to string) {
		t.Helper()
		l.a.netlink(t, func(n *netlink.Handle) error {
			i, err := n.LinkByName(from)
			if err != nil {
				return err
			}
			return n.LinkSetName(i, to)
		})
	}
	// renamed waits until records bear the new name, which is learned a moment
	// after the change.
	renamed := func(network int, name string) {
		t.Helper()
		at := netip.AddrPortFrom(l.address(l.b, ipv4, network), 8080)
		await(t, "the name "+name, func() bool {
			d := l.a.dialTCP(at, patience)
			r := w.awaitRecord(t, "a connection", tuple{"tcp", d.source, at}.is)
			return r.str("network.interface.name") == name
		})
	}
	l.join(t, "late0", "peer0", 0, 1)
	watched("late0", 1)
	check(0, "late0")

	l.join(t, "wan9", "peer9", 1, 1) // excluded
	l.join(t, "lan0", "peer1", 2, 1) // not included
	rename("late0", "wan1")          // another glob
	renamed(0, "wan1")
	check(0, "wan1")
	watched("wan1", 1)
	for network := 1; network <= 2; network++ {
		// Nobody judges what passes there.
		l.connect(t, l.a, l.b, netip.AddrPortFrom(l.address(l.b, ipv4, network), 8080))
	}
	watched("wan9", 0)
	watched("lan0", 0)
	rename("lan0", "wan2") // chosen now
	watched("wan2", 1)
	renamed(2, "wan2")
	check(2, "wan2")
	rename("wan2", "lan2") // and no longer
	watched("lan2", 0)

	l.a.netlink(t, func(n *netlink.Handle) error {
		i, err := n.LinkByName("wan1")
		if err != nil {
			return err
		}
		return n.LinkDel(i)
	})
	w.awaitLog(t, "No longer watching an interface.", "wan1")
	l.join(t, "late0", "peer0", 0, 1)
	watched("late0", 1)
	check(0, "late0")
	if w.hasExited() {
		t.Error("the Collector ended")
	}
}

// TestAuto: without interfaces named, those with a route off the host are
// watched, also when the route comes later.
func TestAuto(t *testing.T) {
	t.Parallel()
	needKernel(t)
	l := &lab{a: newHost(t), b: newHost(t)}
	start(t, l.a, config{interfaces: "auto"})
	if in, out := l.a.attached(t, "lo"); in != 0 || out != 0 {
		t.Error("loopback is watched")
	}
	l.join(t, "net0", "peer0", 0, 1)
	awaitOr(t, func() bool { in, out := l.a.attached(t, "net0"); return in == 1 && out == 1 },
		func() { t.Fatal("an interface with routes is not watched") })
}
