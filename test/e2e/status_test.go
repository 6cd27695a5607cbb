package e2e

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/apiclient"
)

// TestStatusTellsModesApart: what mode detect let through is not counted as blocked,
// also when the mode is prevent by now.
func TestStatusTellsModesApart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	detect := strings.Replace(open2, "prevent", "detect", 1)
	p := newPolicy(t, detect)
	setting, socket := apiOf(t)
	w := start(t, l.a, config{policy: string(p), extensions: setting})
	at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 7070)
	let := l.connect(t, l.a, l.b, at)
	let.exchange(t, 1, 1)
	w.ended(t, let.tuple)
	line := func(label, n string) {
		t.Helper()
		status := weirctl(t, socket, "status")
		if found := regexp.MustCompile(`(?m)^` + label + ` +(\d+) since `).FindStringSubmatch(status); n == "" && found != nil || n != "" && (found == nil || found[1] != n) {
			t.Errorf("want %q %q in\n%s", label, n, status)
		}
	}
	line("would block", "1")
	line("blocked", "")

	p.replace(t, open2)
	w.awaitChange(t, "loaded", 2)
	for range 2 {
		if !l.refuses(at.Port()) {
			t.Error("the connection is not blocked")
		}
	}
	line("would block", "1")
	line("blocked", "2")
	var c apiclient.Counts
	await(t, "the records in the statistics", func() bool {
		var s apiclient.Statistics
		if err := json.Unmarshal([]byte(weirctl(t, socket, "top", "--json")), &s); err != nil {
			t.Fatal(err)
		}
		for _, port := range s.Top.Ports {
			if port.Key == "tcp/7070" {
				c = port.Counts
			}
		}
		return c.Connections == 3
	})
	if c.Blocked != 2 || c.WouldBlock != 1 {
		t.Errorf("by port: %+v", c)
	}
}
