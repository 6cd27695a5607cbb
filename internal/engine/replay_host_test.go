package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

// With the addresses of the host that recorded it, a capture has directions, and
// rules for them match.
func TestReplayOnHost(t *testing.T) {
	r := replay(t, samplePath, `
rules:
- {name: web, action: allow, direction: outbound, layer4: {tcp: [80, 443]}}
- {name: no-ssh, action: block, direction: inbound, layer4: {tcp: 22}}
`, func(c *ReplayConfig) {
		c.Host = []netip.Prefix{netip.PrefixFrom(laptop, 32), netip.PrefixFrom(laptop6, 128)}
	})
	if r.err != nil {
		t.Fatal(r.err)
	}
	lines := r.lines()
	for _, want := range []string{
		"detected  outbound tcp 192.0.2.20:41822 → 198.51.100.7:80 rule=web",
		"detected  inbound  tcp 203.0.113.99:61002 → 192.0.2.20:22 would block rule=no-ssh",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("%q is missing from\n%s", want, strings.Join(lines, "\n"))
		}
	}
	for i := range r.told.records {
		if c := &r.told.records[i]; c.Direction == packet.Forwarded {
			t.Errorf("nothing passes by here: %s", c.Line())
		}
	}
}

// What a host counts of a connection does not depend on where its ends are.
func TestReplayOnHostCountsTheSame(t *testing.T) {
	count := func(change func(*ReplayConfig)) map[string]bool {
		all := map[string]bool{}
		for _, line := range replay(t, samplePath, "", change).lines() {
			if strings.HasPrefix(line, "end") {
				fields := strings.Fields(line)
				all[strings.Join(append(fields[:1:1], fields[2:]...), " ")] = true
			}
		}
		return all
	}
	by := count(nil)
	at := count(func(c *ReplayConfig) {
		c.Host = []netip.Prefix{netip.PrefixFrom(laptop, 32), netip.PrefixFrom(laptop6, 128)}
	})
	if len(by) == 0 || len(by) != len(at) {
		t.Fatalf("%d and %d ends", len(by), len(at))
	}
	for line := range by {
		if !at[line] {
			t.Errorf("%q is missing", line)
		}
	}
}
