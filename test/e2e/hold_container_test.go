package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// TestHoldInAContainer holds packets where /proc/sys is read-only, as engines mount it
// for all but privileged containers. The device has no IPv6 all the same.
func TestHoldInAContainer(t *testing.T) {
	t.Parallel()
	unshare := tool(t, "unshare")
	l := newLab(t)
	at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080)
	p := l.servePages(t, l.b, at)
	w := &weir{dir: t.TempDir(), host: l.a, config: config{policy: string(newPolicy(t, fmt.Sprintf(holdPaths, "block")))}}
	w.logs.path = signalFile(w.dir, "logs")
	if err := os.WriteFile(w.file("config.yaml"), []byte(w.config.yaml(w.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	const readOnly = `mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && ! echo 1 2>/dev/null >/proc/sys/net/ipv4/ip_forward && exec "$@"`
	w.begin(t, unshare, "--mount", "--propagation", "private", "sh", "-c", readOnly, "sh", weirBinary(t), "--config", w.file("config.yaml"))
	t.Cleanup(func() {
		w.stop(t)
		if t.Failed() {
			t.Logf("the Collector's log:\n%s", tail(w.log(), 30))
		}
	})
	w.awaitReady(t, 1)
	if body := l.a.get(t, fmt.Sprintf("http://%s/ok/x?bytes=100000", at)); len(body) != 100_000 {
		t.Errorf("%d bytes came", len(body))
	}
	if body, err := l.a.fetch(fmt.Sprintf("http://%s/secret", at)); err == nil {
		t.Errorf("what the policy blocks gave %q", body)
	}
	if n := p.forbidden.Load(); n != 0 {
		t.Errorf("%d requests that are blocked came through", n)
	}
	l.a.run(func() {
		if _, err := os.Stat("/proc/sys/net/ipv6/conf/weir-hold"); err == nil {
			t.Error("there is IPv6 on weir-hold")
		}
		if devices, err := os.ReadFile("/proc/thread-self/net/dev"); err != nil || !strings.Contains(string(devices), "weir-hold:") {
			t.Errorf("there is no weir-hold: %v\n%s", err, devices)
		}
	})
}
