package e2e

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// router is a lab whose host a lies between b and a third host, c.
func newRouter(t *testing.T) (l *lab, c *host) {
	t.Helper()
	l = newLab(t)
	c = newHost(t)
	beyond := &lab{a: l.a, b: c}
	beyond.join(t, "weir1", "peer0", networks, 1)
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		l.a.sysctl(t, name, "1")
	}
	for h, side := range map[*host]*lab{l.b: l, c: beyond} {
		network := 0
		if h == c {
			network = networks
		}
		for _, f := range families {
			gateway := side.address(side.a, f, network)
			h.netlink(t, func(n *netlink.Handle) error {
				all := net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
				if f == ipv6 {
					all = net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
				}
				return n.RouteAdd(&netlink.Route{Dst: &all, Gw: gateway.AsSlice()})
			})
		}
	}
	return l, c
}

// TestForwarded: what passes through is neither inbound nor outbound, is judged
// where it comes in, and counted once.
func TestForwarded(t *testing.T) {
	t.Parallel()
	l, c := newRouter(t)
	beyond := &lab{a: l.a, b: c}
	w := start(t, l.a, config{
		interfaces: "{include: ['weir*']}",
		policy: string(newPolicy(t, `
mode: prevent
reject: always
rules:
  - {name: not-this, action: block, direction: inbound}
  - {name: nor-this, action: block, direction: outbound, layer4: tcp}
  - {name: through, action: allow, direction: forwarded, layer4: {tcp: 8080}}
`)),
	})
	for _, f := range families {
		at := netip.AddrPortFrom(beyond.address(c, f, networks), 8080)
		p := beyond.connect(t, l.b, c, at)
		p.near = p.client // without loss both ends count the same
		source, destination := p.exchange(t, 300000, 500000)
		w.expect(t, p.tuple, expectation{
			direction: "forwarded", mode: "prevent", verdict: "allowed", action: "allow", reason: "rule", rule: "through",
			generation: "1", end: "fin", source: source, destination: destination,
		})
		at = netip.AddrPortFrom(at.Addr(), 8081)
		listener := c.listenTCP(t, at)
		d := l.b.dialTCP(at, patience)
		if d.err == nil {
			t.Error("connected")
		}
		listener.Close()
		w.expect(t, tuple{"tcp", d.source, at}, expectation{
			direction: "forwarded", mode: "prevent", verdict: "blocked", action: "block", reason: "default",
			generation: "1", end: "blocked", source: d.syn(f),
		})
	}
}

// TestBridge: what passes through a bridge is seen at its ports and at the
// bridge itself, and counted once.
func TestBridge(t *testing.T) {
	t.Parallel()
	needKernel(t)
	l := &lab{a: newHost(t), b: newHost(t)}
	err := error(nil)
	l.a.netlink(t, func(n *netlink.Handle) error {
		err = n.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}})
		return nil
	})
	if err != nil {
		t.Skipf("no bridges here: %v", err)
	}
	l.a.netlink(t, func(n *netlink.Handle) error {
		return n.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "weir0"}, PeerName: farName, PeerNamespace: netlink.NsFd(l.b.file.Fd()),
		})
	})
	l.configure(t, l.a, "br0", 0, 1)
	l.configure(t, l.b, farName, 0, 1)
	l.a.netlink(t, func(n *netlink.Handle) error {
		port, err := n.LinkByName("weir0")
		if err != nil {
			return err
		}
		bridge, err := n.LinkByName("br0")
		if err != nil {
			return err
		}
		if err := n.LinkSetMaster(port, bridge); err != nil {
			return err
		}
		return n.LinkSetUp(port)
	})
	w := start(t, l.a, config{interfaces: "{include: [weir0, br0]}", policy: string(newPolicy(t, shut8080))})
	for _, f := range families {
		for direction, hosts := range map[string][2]*host{"outbound": {l.a, l.b}, "inbound": {l.b, l.a}} {
			at := netip.AddrPortFrom(l.address(hosts[1], f, 0), 9090)
			p := l.connect(t, hosts[0], hosts[1], at)
			source, destination := p.exchange(t, 100000, 300000)
			s := w.ended(t, p.tuple)
			e := expectation{
				direction: direction, mode: "prevent", verdict: "allowed", action: "allow", reason: "rule", rule: "other",
				generation: "1", end: "fin", source: source, destination: destination, iface: s[0].str("network.interface.name"),
			}
			w.expect(t, p.tuple, e)
			if d := hosts[0].dialTCP(netip.AddrPortFrom(at.Addr(), 8080), silence); d.err == nil {
				t.Error("connected")
			}
			hosts[1].echoUDP(t, at)
			c := hosts[0].dialUDP(t, at)
			if err := ask(c, 5000, patience); err != nil { // in fragments
				t.Errorf("%v, %s: %v", f, direction, err)
			}
		}
	}
}

// TestTUN: an interface whose packets have no Ethernet header.
func TestTUN(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	tun := l.a.openTUN(t, "tun0")
	l.configure(t, l.a, "tun0", 20, 1)
	w := start(t, l.a, config{interfaces: "{include: [tun0]}", policy: string(newPolicy(t, `
mode: prevent
rules:
  - {name: ping, action: allow, layer4: {icmp: {types: echo-request}}}
`)), receiver: "on_shutdown: unload"})
	// The test is the other end: it answers pings and counts what comes else.
	datagrams := make(chan []byte, 100)
	go func() {
		buffer := make([]byte, 65536)
		for {
			n, err := tun.Read(buffer)
			if err != nil {
				close(datagrams)
				return
			}
			packet := append([]byte(nil), buffer[:n]...)
			switch {
			case n >= 28 && packet[0]>>4 == 4 && packet[9] == 1 && packet[20] == 8:
				answerPing(packet)
				tun.Write(packet)
			case n >= 28 && packet[0]>>4 == 4:
				datagrams <- packet
			}
		}
	}()
	from, to := l.address(l.a, ipv4, 20), l.address(l.b, ipv4, 20)
	p := l.a.pinger(t, from)
	for sequence := range uint16(3) {
		if err := p.send(to, sequence, 40); err != nil {
			t.Fatal(err)
		}
		if !p.saw(0, p.id, patience) {
			t.Fatal("no answer")
		}
	}
	three := counts{3, 3 * (20 + 8 + 40)}
	w.expect(t, icmpTuple(from, to), expectation{
		direction: "outbound", mode: "prevent", verdict: "allowed", action: "allow", reason: "rule", rule: "ping",
		generation: "1", end: "timeout", iface: "tun0", source: three, destination: three,
	})
	d := l.a.dialTCP(netip.AddrPortFrom(to, 80), patience)
	if d.err == nil || isTimeout(d.err) || d.took > patience/2 {
		t.Errorf("a blocked connect() says %v after %v", d.err, d.took)
	}
	if c := l.a.dialUDP(t, netip.AddrPortFrom(to, 53)); ask(c, 10, time.Second) == nil || len(datagrams) > 0 {
		t.Errorf("%d blocked packets came through", len(datagrams))
	}
}

// answerPing turns an ICMP echo request into its reply.
func answerPing(packet []byte) {
	for i := range 4 {
		packet[12+i], packet[16+i] = packet[16+i], packet[12+i]
	}
	packet[20], packet[22], packet[23] = 0, 0, 0
	sum := checksum(packet[20:])
	packet[22], packet[23] = byte(sum>>8), byte(sum)
}
