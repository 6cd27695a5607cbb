package distribution

import (
	"strings"
	"testing"
)

// TestReplayExample replays the capture that comes with Weir, which needs no
// privilege, and ends by itself.
func TestReplayExample(t *testing.T) {
	out := run(t, root(t), binary(t), "--config", "examples/replay.yaml")
	for _, line := range []string{
		"detected  forwarded udp 192.0.2.20:53211 → 192.0.2.1:53 rule=names\n",
		"end       forwarded tcp 192.0.2.20:41822 → 198.51.100.7:80 http rule=web fin 28ms ↑ 281 B/6 ↓ 164 B/3\n",
		"http      forwarded tcp 192.0.2.20:41822 → 198.51.100.7:80 rule=web GET http://www.example.com/ 200 21ms\n",
		"dns       forwarded udp 192.0.2.20:53211 → 192.0.2.1:53 rule=names A www.example.com NOERROR 9ms\n",
		"detected  forwarded tcp 203.0.113.99:61002 → 192.0.2.20:22 would block reason=default\n",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is missing", line)
		}
	}
	if n := strings.Count(out, "\n"); n != 22 {
		t.Errorf("%d lines, want 22:\n%s", n, out)
	}
}
