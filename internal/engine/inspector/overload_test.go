package inspector_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/inspect/stream"
	"github.com/weirnet/weir/internal/packet"
)

// TestGivingWay: whoever holds most gives way to another. In prevent mode on_error
// answers for it at once, so that nothing which is sent again is judged in place of
// what waits; in detect mode it is read on with what comes again.
func TestGivingWay(t *testing.T) {
	for _, mode := range []string{"prevent", "detect"} {
		for _, answer := range []string{"block", "allow"} {
			t.Run(mode+" "+answer, func(t *testing.T) {
				text := fmt.Sprintf("mode: %s\non_error: {overload: %s}\nrules: [{name: evil, action: block, layer7: {http: {paths: [/evil]}}}, {name: rest, action: allow}]\n", mode, answer)
				w := newWorld(t, text, func(c *inspector.Config) {
					c.MaxBytes, c.Streams = 64<<10, stream.Limits{Bytes: 100 << 10}
				})
				greedy := w.open(80)
				greedy.size = 1448
				head := "GET /evil HTTP/1.1\r\nX: " + strings.Repeat("x", 50<<10)
				greedy.client(head)
				w.expect("the verdict on the greedy", greedy.verdict(), "pending")
				modest := w.connect(80, func(c *inspector.Connection) { c.Tuple.Source = netip.MustParseAddr("192.0.2.77") })
				modest.segment(0, packet.SYN, "")
				modest.segment(1, packet.SYN|packet.ACK, "")
				modest.size = 1448
				modest.client("GET /a HTTP/1.1\r\nX: " + strings.Repeat("x", 30<<10))
				want := "pending"
				if mode == "prevent" {
					want = answer + " error.overload evil"
				}
				w.expect("the verdict on the greedy", greedy.verdict(), want)
				w.expect("the verdict on the modest", modest.verdict(), "pending")
				greedy.next[0] -= uint32(len(head))
				greedy.client("GET /good HTTP/1.1\r\nHost: a.example\r\n\r\n")
				if mode == "prevent" {
					w.expect("the verdict after another content", greedy.verdict(), want)
				}
				modest.client("\r\nHost: a.example\r\n\r\n")
				w.expect("the verdict on the modest", modest.verdict(), "allow rule rest")
			})
		}
	}
}
