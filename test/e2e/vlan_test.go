package e2e

import (
	"testing"
	"time"
)

// trunk is a host and its peer with VLAN 5 between them, in which VLAN 6 is nested
// (QinQ), and the wire itself.
func trunk(t *testing.T) (near, far *host) {
	t.Helper()
	needKernel(t)
	near, far = newHost(t), newHost(t)
	wire(t, near, nearName, far, farName)
	for h, c := range map[*host]struct{ parent, last string }{near: {nearName, "1"}, far: {farName, "2"}} {
		h.vlan(t, c.parent, "outer", 5, true)
		h.vlan(t, "outer", "inner", 6, false)
		h.address(t, c.parent, "198.18.0."+c.last+"/24")
		h.address(t, "outer", "198.18.5."+c.last+"/24")
		h.address(t, "inner", "198.18.6."+c.last+"/24")
	}
	return near, far
}

// detected is what is told of a connection without rules.
var detected = expectation{verdict: "detected", mode: "detect", end: "fin"}

// TestVLANs: whichever of a wire and the VLAN devices on it are watched, a
// connection is one, and counted once.
func TestVLANs(t *testing.T) {
	t.Parallel()
	for _, watched := range []struct {
		include string
		// the interface that sees a connection first: out and in, for the wire, VLAN
		// 5, VLAN 6 in it; "" where none does.
		out, in [3]string
	}{
		{"weir0, outer, inner", [3]string{nearName, "outer", "inner"}, [3]string{nearName, nearName, nearName}},
		{"weir0", [3]string{nearName, nearName, nearName}, [3]string{nearName, nearName, nearName}},
		{"outer", [3]string{"", "outer", "outer"}, [3]string{"", "outer", "outer"}},
		{"inner, weir0", [3]string{nearName, nearName, "inner"}, [3]string{nearName, nearName, nearName}},
		{"inner, outer", [3]string{"", "outer", "inner"}, [3]string{"", "outer", "outer"}},
	} {
		t.Run(watched.include, func(t *testing.T) {
			t.Parallel()
			near, far := trunk(t)
			w := start(t, near, config{interfaces: "{include: [" + watched.include + "]}"})
			for i, network := range []string{"198.18.0.", "198.18.5.", "198.18.6."} {
				for direction, c := range map[string]struct {
					way
					iface string
				}{
					"outbound": {way{from: near, to: far, destination: network + "2:80", near: near}, watched.out[i]},
					"inbound":  {way{from: far, to: near, destination: network + "1:80", near: near}, watched.in[i]},
				} {
					p := c.open(t)
					e := detected
					e.direction, e.iface = direction, c.iface
					e.source, e.destination = p.exchange(t, 100_000, 200_000)
					if c.iface == "" {
						time.Sleep(silence)
						if s := w.story(t, p.tuple); len(s) != 0 {
							t.Errorf("what no watched interface sees is told: %v", s)
						}
						continue
					}
					w.expect(t, p.tuple, e)
				}
			}
		})
	}
}

// TestVLANBlocked: what is blocked on the wire, tags and all, is answered, and the
// sender told at once.
func TestVLANBlocked(t *testing.T) {
	t.Parallel()
	near, far := trunk(t)
	start(t, near, config{policy: string(newPolicy(t, `
mode: prevent
reject: always
default_action: allow
rules:
  - {name: shut, action: block, layer4: {tcp: 81}}
`)), receiver: "on_shutdown: unload"})
	for _, network := range []string{"198.18.0.", "198.18.5.", "198.18.6."} {
		way{from: near, to: far, destination: network + "2:80"}.open(t)
		for _, c := range []way{
			{from: near, to: far, destination: network + "2:81"},
			{from: far, to: near, destination: network + "1:81"},
		} {
			began := time.Now()
			if _, err := c.try(t, patience); err == nil || isTimeout(err) || time.Since(began) > patience/2 {
				t.Errorf("a blocked connect() to %s says %v after %v", c.destination, err, time.Since(began))
			}
		}
	}
}

// TestOpenInVLAN: connections that are open at the start are taken over in the
// zone of their interface, whoever opened them.
func TestOpenInVLAN(t *testing.T) {
	t.Parallel()
	near, far := trunk(t)
	var pairs []*pair
	var directions []string
	for _, network := range []string{"198.18.0.", "198.18.5.", "198.18.6."} {
		// The higher port is the server's: a packet in the middle would mislead.
		pairs = append(pairs,
			way{from: near, to: far, source: network + "1:1000", destination: network + "2:50000", near: near}.open(t),
			way{from: far, to: near, source: network + "2:1001", destination: network + "1:50001", near: near}.open(t))
		directions = append(directions, "outbound", "inbound")
	}
	listener := near.listenTCP(t, mustAddrPort("0.0.0.0:50001")) // whose port it is tells who was called
	defer listener.Close()
	w := start(t, near, config{interfaces: "{include: ['*'], exclude: [lo]}"})
	for i, p := range pairs {
		p.exchange(t, 1000, 1000)
		for _, r := range w.ended(t, p.tuple) {
			if r.str("weir.direction") != directions[i] {
				t.Errorf("%v is %s", p.tuple, r.str("weir.direction"))
			}
		}
	}
}
