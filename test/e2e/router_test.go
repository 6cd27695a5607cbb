package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// crossing is a router with two uplinks, one of which the far host answers by, and
// the other of which the router sends by: out by up0, back by up1. Inside are a
// plain network and, where the kernel has VLANs, one in VLAN 5 and one in VLAN 6
// nested in 7.
type crossing struct {
	router, far *host
	inside      map[string]*host // by the router's interface
}

func newCrossing(t *testing.T, vlans bool) *crossing {
	t.Helper()
	needKernel(t)
	c := &crossing{router: newHost(t), far: newHost(t), inside: map[string]*host{"lan0": newHost(t)}}
	wire(t, c.router, "up0", c.far, "far0")
	wire(t, c.router, "up1", c.far, "far1")
	c.router.address(t, "up0", "198.18.0.1/24")
	c.router.address(t, "up1", "198.18.1.1/24")
	c.far.address(t, "far0", "198.18.0.2/24")
	c.far.address(t, "far1", "198.18.1.2/24")
	c.far.address(t, "lo", "203.0.113.1/32") // one host of the outside
	wire(t, c.router, "lan0", c.inside["lan0"], "eth0")
	if vlans {
		trunk, vlan, nested := newHost(t), newHost(t), newHost(t)
		wire(t, c.router, "trunk0", trunk, "in0") // a switch: each VLAN goes to a host
		c.router.vlan(t, "trunk0", "lan5", 5, false)
		c.router.vlan(t, "trunk0", "service7", 7, true)
		c.router.vlan(t, "service7", "lan6", 6, false)
		// The switch's hosts are reached by VLAN devices of its own in bridges.
		trunk.vlan(t, "in0", "in5", 5, false)
		trunk.vlan(t, "in0", "in7", 7, true)
		trunk.vlan(t, "in7", "in6", 6, false)
		for device, h := range map[string]*host{"5": vlan, "6": nested} {
			wire(t, trunk, "port"+device, h, "eth0")
			trunk.bridge(t, "bridge"+device, "in"+device, "port"+device)
		}
		c.inside["lan5"], c.inside["lan6"] = vlan, nested
	}
	network := 0
	for name, h := range c.inside {
		gateway := fmt.Sprintf("192.0.2.%d", network+1)
		c.router.address(t, name, gateway+"/28")
		h.address(t, "eth0", fmt.Sprintf("192.0.2.%d/28", network+2))
		h.routeTo(t, "0.0.0.0/0", gateway, "eth0", 0)
		network += 16
	}
	c.router.routeTo(t, "0.0.0.0/0", "198.18.0.2", "up0", 0)
	c.far.routeTo(t, "192.0.2.0/24", "198.18.1.1", "far1", 0)
	for _, h := range []*host{c.router, c.far} {
		h.sysctl(t, "net/ipv4/conf/all/rp_filter", "0")
		h.sysctl(t, "net/ipv4/conf/default/rp_filter", "0")
	}
	c.router.sysctl(t, "net/ipv4/ip_forward", "1")
	return c
}

const throughRouter = `
mode: prevent
reject: always
rules:
  - {name: not-this, action: block, direction: inbound}
  - {name: nor-this, action: block, direction: outbound}
  - {name: web, action: allow, direction: forwarded, layer3: {source: 192.0.2.0/24}, layer4: {tcp: 80}}
  - {name: back, action: allow, direction: forwarded, layer3: {destination: 192.0.2.0/24}, layer4: {tcp: 443}}
`

// check opens connections both ways by the router, one of which comes back
// another way than it went.
func (c *crossing) check(t *testing.T, w *weir) {
	t.Helper()
	for name, h := range c.inside {
		inside := h.ownAddress(t, "eth0")
		first := name                                                           // of the router's interfaces, the one that sees it first
		if name != "lan0" && strings.Contains(w.config.interfaces, "include") { // the wire too
			first = "trunk0"
		}
		for rule, v := range map[string]struct {
			way
			iface string
		}{
			"web":  {way{from: h, to: c.far, destination: "203.0.113.1:80"}, first},
			"back": {way{from: c.far, to: h, destination: inside + ":443"}, "up1"},
		} {
			p := v.open(t)
			e := expectation{
				direction: "forwarded", verdict: "allowed", action: "allow", mode: "prevent", reason: "rule", rule: rule,
				generation: "1", end: "fin", iface: v.iface,
			}
			e.source, e.destination = p.exchange(t, 100_000, 200_000)
			w.expect(t, p.tuple, e)
		}
		for _, v := range []way{
			{from: h, to: c.far, destination: "203.0.113.1:443"},
			{from: c.far, to: h, destination: inside + ":80"},
			{from: h, to: c.router, destination: "198.18.0.1:80"},
			{from: c.router, to: h, destination: inside + ":443"},
		} {
			if _, err := v.try(t, patience); err == nil || isTimeout(err) {
				t.Errorf("%s by %s, which no rule allows: %v", v.destination, name, err)
			}
		}
	}
}

// TestRouter: each connection through a router is one, in the right direction, and
// its bytes are counted once, also where it goes out by one uplink and comes back
// by the other.
func TestRouter(t *testing.T) {
	t.Parallel()
	c := newCrossing(t, false)
	c.check(t, start(t, c.router, config{interfaces: "auto", policy: string(newPolicy(t, throughRouter))}))
}

// TestVLANRouter: the same with VLANs inside, one of them nested; first seen at
// the VLAN devices, then at the wire they share, then at both.
func TestVLANRouter(t *testing.T) {
	t.Parallel()
	for _, interfaces := range []string{
		"auto", "{include: [up0, up1, lan0, trunk0]}", "{include: ['*'], exclude: [lo]}",
	} {
		t.Run(interfaces, func(t *testing.T) {
			t.Parallel()
			c := newCrossing(t, true)
			c.check(t, start(t, c.router, config{interfaces: interfaces, policy: string(newPolicy(t, throughRouter))}))
		})
	}
}
