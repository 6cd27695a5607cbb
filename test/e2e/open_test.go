package e2e

import (
	"net/netip"
	"testing"
)

// TestOpenConnections: those that are open when Weir starts have the direction
// that they were opened in, whatever the ports say, and are judged.
func TestOpenConnections(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, f := range families {
		t.Run(f.String(), func(t *testing.T) {
			// The server's port is the higher one: a guess by ports would be wrong.
			at := func(h *host) netip.AddrPort { return netip.AddrPortFrom(l.address(h, f, 0), 61000) }
			inbound := l.connect(t, l.b, l.a, at(l.a))
			listener := l.a.listenTCP(t, at(l.a)) // it still listens
			outbound := l.connect(t, l.a, l.b, at(l.b))
			w := start(t, l.a, config{policy: string(newPolicy(t, `
mode: prevent
rules:
  - {name: in, action: allow, direction: inbound, layer4: {tcp: 61000}}
  - {name: out, action: allow, direction: outbound, layer4: {tcp: 61000}}
`))})
			for _, c := range []struct {
				p               *pair
				direction, rule string
			}{{inbound, "inbound", "in"}, {outbound, "outbound", "out"}} {
				c.p.chat(t)
				c.p.exchange(t, 1000, 1000)
				s := w.ended(t, c.p.tuple)
				if len(s) != 2 || s[0].str("weir.direction") != c.direction || s[0].str("security_rule.name") != c.rule || s[1].str("weir.end_reason") != "fin" {
					t.Errorf("told as:\n%v", s)
				}
			}
			listener.Close()
			w.stop(t)
		})
	}
}
