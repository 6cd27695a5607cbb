package e2e

import (
	"fmt"
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	vxlanPort = 4789
	// What a VXLAN packet has before the packet that it carries: IPv4, UDP, VXLAN and
	// Ethernet headers.
	vxlanHeaders = 20 + 8 + 8 + 14
)

// overlay is a host and its peer with a VXLAN between them. Nothing but what the
// test sends goes through it: no neighbor is asked for.
func overlay(t *testing.T) (near, far *host) {
	t.Helper()
	needKernel(t)
	near, far = newHost(t), newHost(t)
	wire(t, near, nearName, far, farName)
	near.address(t, nearName, "198.18.0.1/24")
	far.address(t, farName, "198.18.0.2/24")
	macs := map[*host]net.HardwareAddr{near: {2, 0, 0, 0, 7, 1}, far: {2, 0, 0, 0, 7, 2}}
	for h, peer := range map[*host]*host{near: far, far: near} {
		last := map[*host]string{near: "1", far: "2"}
		h.sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1")
		h.device(t, &netlink.Vxlan{
			LinkAttrs: netlink.LinkAttrs{Name: "overlay", HardwareAddr: macs[h], MTU: 1450}, VxlanId: 7, Port: vxlanPort,
			Group: net.ParseIP("198.18.0." + last[peer]), SrcAddr: net.ParseIP("198.18.0." + last[h]),
		})
		h.address(t, "overlay", "198.18.7."+last[h]+"/24")
		h.change(t, "overlay", func(n *netlink.Handle, l netlink.Link) error {
			return n.NeighSet(&netlink.Neigh{
				LinkIndex: l.Attrs().Index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT,
				IP: net.ParseIP("198.18.7." + last[peer]), HardwareAddr: macs[peer],
			})
		})
	}
	return near, far
}

// TestOverlay: the tunnel is a connection of each end on the wire, the packets that
// it carries are others, on its device. Superpackets count as the segments that
// become of them, with the headers of the tunnel.
func TestOverlay(t *testing.T) {
	t.Parallel()
	near, far := overlay(t)
	// A tunnel whose packets are held up for longer than the timeout would be two.
	w := start(t, near, config{
		interfaces: "{include: [weir0, overlay]}", timeouts: "{tcp: 60s, tcp_closing: 20s, udp: 5s, icmp: 1s}",
	})
	type tunnel struct {
		from string
		sent counts
	}
	var tunnels []tunnel
	for _, direction := range []string{"outbound", "inbound"} {
		c := way{from: near, to: far, destination: "198.18.7.2:80", near: near}
		if direction == "inbound" {
			c = way{from: far, to: near, destination: "198.18.7.1:80", near: near}
		}
		p := c.open(t)
		const size = 5 << 20
		source, destination := p.exchange(t, size, size)
		e := detected
		e.direction, e.iface, e.source, e.destination = direction, "overlay", source, destination
		w.expect(t, p.tuple, e)
		if direction == "inbound" {
			source, destination = destination, source
		}
		tunnels = append(tunnels, tunnel{"198.18.0.1", source}, tunnel{"198.18.0.2", destination})
	}
	// Linux draws a tunnel's source port from what it carries: it is another for each
	// connection, and end.
	for _, of := range tunnels {
		want := counts{of.sent.packets, of.sent.bytes + of.sent.packets*vxlanHeaders}
		w.awaitRecord(t, fmt.Sprintf("the tunnel's end at %s: %v", of.from, want), func(r record) bool {
			return r.event == "weir.connection.end" && r.num("destination.port") == vxlanPort && r.str("source.address") == of.from &&
				r.num("weir.source.packets") == want.packets && r.num("weir.source.bytes") == want.bytes
		})
	}
}
