package e2e

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// engine is a host as container engines set it up: two containers on a bridge,
// masqueraded behind the uplink, with a port of the first published.
type engine struct {
	host, outside *host
	containers    [2]*host
}

const (
	bridgeName = "bridge0"
	uplinkName = "uplink0"
)

const translation = `
table ip nat {
  chain prerouting {
    type nat hook prerouting priority -100
    iifname != "bridge0" tcp dport 8080 dnat to 172.18.0.10:80
  }
  chain postrouting {
    type nat hook postrouting priority 100
    oifname "uplink0" ip saddr 172.18.0.0/16 masquerade
  }
}
`

func newEngine(t *testing.T) *engine {
	t.Helper()
	needKernel(t)
	e := &engine{host: newHost(t), outside: newHost(t), containers: [2]*host{newHost(t), newHost(t)}}
	e.host.netlink(t, func(n *netlink.Handle) error {
		return n.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}})
	})
	e.host.address(t, bridgeName, "172.18.0.1/16")
	for i, c := range e.containers {
		port := []string{"port0", "port1"}[i]
		e.wire(t, port, c)
		e.host.netlink(t, func(n *netlink.Handle) error {
			bridge, err := n.LinkByName(bridgeName)
			if err != nil {
				return err
			}
			l, err := n.LinkByName(port)
			if err != nil {
				return err
			}
			return n.LinkSetMaster(l, bridge)
		})
		c.address(t, "eth0", []string{"172.18.0.10/16", "172.18.0.11/16"}[i])
		c.route(t, "172.18.0.1")
	}
	e.wire(t, uplinkName, e.outside)
	e.host.address(t, uplinkName, "198.18.0.1/24")
	e.outside.address(t, "eth0", "198.18.0.2/24")
	e.host.sysctl(t, "net/ipv4/ip_forward", "1")
	rules := filepath.Join(t.TempDir(), "rules.nft")
	if err := os.WriteFile(rules, []byte(translation), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := e.host.output(t, tool(t, "nft"), "-f", rules); err != nil {
		t.Skipf("this kernel does not translate addresses: %v\n%s", err, out)
	}
	return e
}

// wire joins the host to a peer, whose end is eth0.
func (e *engine) wire(t *testing.T, name string, peer *host) {
	t.Helper()
	e.host.netlink(t, func(n *netlink.Handle) error {
		return n.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(peer.file.Fd()),
		})
	})
	e.host.address(t, name, "")
}

// address gives an interface an address, if any, and sets it up.
func (h *host) address(t *testing.T, name, address string) {
	t.Helper()
	h.sysctl(t, "net/ipv6/conf/"+name+"/disable_ipv6", "1") // its chatter is no part of the test
	h.netlink(t, func(n *netlink.Handle) error {
		l, err := n.LinkByName(name)
		if err != nil {
			return err
		}
		if address != "" {
			a, err := netlink.ParseAddr(address)
			if err != nil {
				return err
			}
			if err := n.AddrAdd(l, a); err != nil {
				return err
			}
		}
		return n.LinkSetUp(l)
	})
}

func (h *host) route(t *testing.T, gateway string) {
	t.Helper()
	h.netlink(t, func(n *netlink.Handle) error {
		return n.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)})
	})
}

// through opens a connection to `to`, which the host translates to `real` of the
// listening side.
func (e *engine) through(t *testing.T, from, listening *host, to, real netip.AddrPort) *pair {
	t.Helper()
	listener := listening.listenTCP(t, real)
	defer listener.Close()
	d := from.dialTCP(to, patience)
	if d.err != nil {
		t.Fatalf("connect to %v: %v", to, d.err)
	}
	listener.SetDeadline(time.Now().Add(patience))
	c, err := listener.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{tuple: tuple{"tcp", d.source, to}, client: d.conn, server: c, near: d.conn, again: d.segments - 2}
	t.Cleanup(func() { p.client.Close(); p.server.Close() })
	return p
}

// TestContainers: whatever the host translates, each connection is judged where
// it comes in, has one start and one end, and the bytes that its ends sent; the
// answers of what is allowed pass.
func TestContainers(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	w := start(t, e.host, config{interfaces: "auto", policy: string(newPolicy(t, `
mode: prevent
reject: always
rules:
  - {name: out, action: allow, direction: forwarded, layer3: {source: 172.18.0.0/16}, layer4: {tcp: [80, 8080]}}
  - {name: published, action: allow, direction: inbound, layer4: {tcp: 8080}}
  - {name: local, action: allow, direction: outbound, layer4: {tcp: 80}}
`))})
	addr := netip.MustParseAddrPort
	prevent := expectation{verdict: "allowed", action: "allow", mode: "prevent", reason: "rule", generation: "1", end: "fin"}
	for _, c := range []struct {
		name            string
		from, listening *host
		to, real        string
		direction, rule string
		iface           string
	}{
		{"a container to the outside", e.containers[0], e.outside, "198.18.0.2:80", "198.18.0.2:80", "forwarded", "out", bridgeName},
		{"the outside to the published port", e.outside, e.containers[0], "198.18.0.1:8080", "172.18.0.10:80", "inbound", "published", uplinkName},
		{"a container to the host", e.containers[1], e.host, "172.18.0.1:8080", "172.18.0.1:8080", "inbound", "published", bridgeName},
		{"the host to a container", e.host, e.containers[1], "172.18.0.11:80", "172.18.0.11:80", "outbound", "local", bridgeName},
		{"the host to the outside", e.host, e.outside, "198.18.0.2:80", "198.18.0.2:80", "outbound", "local", uplinkName},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := e.through(t, c.from, c.listening, addr(c.to), addr(c.real))
			want := prevent
			want.direction, want.rule, want.iface = c.direction, c.rule, c.iface
			want.source, want.destination = p.exchange(t, 300_000, 500_000)
			w.expect(t, p.tuple, want)
		})
	}
	t.Run("what no rule allows", func(t *testing.T) {
		if d := e.containers[0].dialTCP(addr("198.18.0.2:22"), patience); d.err == nil || isTimeout(d.err) {
			t.Errorf("a container to the outside: %v", d.err)
		}
		if d := e.outside.dialTCP(addr("198.18.0.1:22"), patience); d.err == nil || isTimeout(d.err) {
			t.Errorf("the outside to the host: %v", d.err)
		}
	})
}
