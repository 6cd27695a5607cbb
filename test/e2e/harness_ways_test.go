package e2e

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wire joins two hosts by a veth pair, both ends up and without addresses.
func wire(t *testing.T, a *host, aName string, b *host, bName string) {
	t.Helper()
	a.netlink(t, func(n *netlink.Handle) error {
		return n.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: aName}, PeerName: bName, PeerNamespace: netlink.NsFd(b.file.Fd()),
		})
	})
	a.address(t, aName, "")
	b.address(t, bName, "")
	awaitCarrier(t, a, aName, b, bName)
}

// device makes an interface that is no veth, and sets it up. The test is skipped
// where the kernel has none of the kind.
func (h *host) device(t *testing.T, l netlink.Link) {
	t.Helper()
	var err error
	h.netlink(t, func(n *netlink.Handle) error {
		err = n.LinkAdd(l)
		return nil
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("this kernel has no %s devices", l.Type())
	}
	if err != nil {
		t.Fatalf("make %s: %v", l.Attrs().Name, err)
	}
	h.address(t, l.Attrs().Name, "")
}

func (h *host) index(t *testing.T, name string) int {
	t.Helper()
	index := 0
	h.netlink(t, func(n *netlink.Handle) error {
		l, err := n.LinkByName(name)
		if err == nil {
			index = l.Attrs().Index
		}
		return err
	})
	return index
}

// vlan makes a VLAN device; service tags are those of 802.1ad.
func (h *host) vlan(t *testing.T, parent, name string, id int, service bool) {
	t.Helper()
	l := &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: name, ParentIndex: h.index(t, parent)}, VlanId: id}
	if service {
		l.VlanProtocol = netlink.VLAN_PROTOCOL_8021AD
	}
	h.device(t, l)
}

// vrf makes a VRF of interfaces. It is done before they have addresses: IPv6 loses
// them.
func (h *host) vrf(t *testing.T, name string, table uint32, parts ...string) {
	t.Helper()
	h.device(t, &netlink.Vrf{LinkAttrs: netlink.LinkAttrs{Name: name}, Table: table})
	for _, part := range parts {
		h.enslave(t, part, name)
	}
}

// enslave puts an interface under a master; "" takes it out.
func (h *host) enslave(t *testing.T, name, master string) {
	t.Helper()
	index := 0
	if master != "" {
		index = h.index(t, master)
	}
	h.change(t, name, func(n *netlink.Handle, l netlink.Link) error { return n.LinkSetMasterByIndex(l, index) })
}

func (h *host) change(t *testing.T, name string, f func(*netlink.Handle, netlink.Link) error) {
	t.Helper()
	h.netlink(t, func(n *netlink.Handle) error {
		l, err := n.LinkByName(name)
		if err != nil {
			return err
		}
		return f(n, l)
	})
}

// routeTo adds a route; table 0 is the main one.
func (h *host) routeTo(t *testing.T, destination, gateway, device string, table int) {
	t.Helper()
	_, to, err := net.ParseCIDR(destination)
	if err != nil {
		t.Fatal(err)
	}
	h.change(t, device, func(n *netlink.Handle, l netlink.Link) error {
		return n.RouteReplace(&netlink.Route{Dst: to, Gw: net.ParseIP(gateway), LinkIndex: l.Attrs().Index, Table: table})
	})
}

// isWatched waits until all or none of the interfaces' hooks have a program.
func (h *host) isWatched(t *testing.T, name string, watched bool) {
	t.Helper()
	want := 0
	if watched {
		want = 1
	}
	awaitOr(t, func() bool {
		in, out := h.attached(t, name)
		return in == want && out == want
	}, func() { t.Fatalf("%s has not %d programs in each hook", name, want) })
}

// way is how a connection is opened: which host, by which source, bound to which
// interface or VRF ("": none).
type way struct {
	from, to             *host
	fromDevice, toDevice string
	source, destination  string // the source may be empty
	near                 *host  // Weir's, where it is an end
}

func bound(device string) func(_, _ string, raw syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var err error
		controlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			if err == nil && device != "" {
				err = unix.BindToDevice(int(fd), device)
			}
		})
		return errors.Join(controlErr, err)
	}
}

// open makes the connection and takes both ends.
func (w way) open(t *testing.T) *pair {
	t.Helper()
	p, err := w.try(t, patience)
	if err != nil {
		t.Fatalf("%s → %s: %v", w.source, w.destination, err)
	}
	return p
}

func (w way) try(t *testing.T, within time.Duration) (*pair, error) {
	t.Helper()
	var listener net.Listener
	var err error
	w.to.run(func() {
		c := net.ListenConfig{KeepAlive: untold, Control: bound(w.toDevice)}
		c.SetMultipathTCP(false)
		listener, err = c.Listen(context.Background(), "tcp", w.destination)
	})
	if err != nil {
		t.Fatalf("listen at %s: %v", w.destination, err)
	}
	defer listener.Close()
	d := net.Dialer{Timeout: within, KeepAlive: untold, Control: bound(w.fromDevice)}
	if w.source != "" {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(w.source))
	}
	var client net.Conn
	w.from.run(func() { client, err = d.Dial("tcp", w.destination) })
	if err != nil {
		return nil, err
	}
	listener.(*net.TCPListener).SetDeadline(deadline(patience))
	server, err := listener.(*net.TCPListener).AcceptTCP()
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	p := &pair{client: client.(*net.TCPConn), server: server, near: client.(*net.TCPConn)}
	p.tuple = tuple{"tcp", client.LocalAddr().(*net.TCPAddr).AddrPort(), netip.MustParseAddrPort(w.destination)}
	if w.near != nil && w.near == w.to {
		p.near = server
	}
	t.Cleanup(func() { p.client.Close(); p.server.Close() })
	return p, nil
}

// bridge makes a bridge of interfaces.
func (h *host) bridge(t *testing.T, name string, ports ...string) {
	t.Helper()
	h.device(t, &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}})
	for _, port := range ports {
		h.enslave(t, port, name)
	}
}

// ownAddress is an interface's first IPv4 address.
func (h *host) ownAddress(t *testing.T, name string) string {
	t.Helper()
	var found string
	h.change(t, name, func(n *netlink.Handle, l netlink.Link) error {
		list, err := n.AddrList(l, netlink.FAMILY_V4)
		if err == nil && len(list) > 0 {
			found = list[0].IP.String()
		}
		return err
	})
	return found
}
