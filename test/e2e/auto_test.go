package e2e

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// openTUN makes a TUN device that exists until the file is closed.
func (h *host) openTUN(t *testing.T, name string) *os.File {
	t.Helper()
	var tun *os.File
	var err error
	h.do(func() {
		var fd int
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		tun = os.NewFile(uintptr(fd), "tun")
		var request *unix.Ifreq
		if request, err = unix.NewIfreq(name); err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
	})
	if err != nil {
		t.Skipf("no TUN devices here: %v", err)
	}
	t.Cleanup(func() { tun.Close() })
	return tun
}

func (h *host) setUp(t *testing.T, name string, up bool) {
	t.Helper()
	h.change(t, name, func(n *netlink.Handle, l netlink.Link) error {
		if up {
			return n.LinkSetUp(l)
		}
		return n.LinkSetDown(l)
	})
}

func (h *host) removeAddress(t *testing.T, name, address string) {
	t.Helper()
	a, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	h.change(t, name, func(n *netlink.Handle, l netlink.Link) error { return n.AddrDel(l, a) })
}

// TestLaptop: a host whose uplink comes and goes, changes its address and its name,
// and that has a tunnel now and then.
func TestLaptop(t *testing.T) {
	t.Parallel()
	needKernel(t)
	laptop, far := newHost(t), newHost(t)
	w := start(t, laptop, config{interfaces: "auto"})
	// check opens a connection and sees that it is told, by that name.
	check := func(name, destination string) {
		t.Helper()
		p := way{from: laptop, to: far, destination: destination, near: laptop}.open(t)
		e := detected
		e.direction, e.iface = "outbound", name
		e.source, e.destination = p.exchange(t, 100, 200)
		w.expect(t, p.tuple, e)
	}
	wire(t, laptop, "wlan0", far, "peer0")
	laptop.isWatched(t, "wlan0", false) // it leads nowhere yet
	laptop.address(t, "wlan0", "198.18.0.1/24")
	far.address(t, "peer0", "198.18.0.2/24")
	laptop.isWatched(t, "wlan0", true)
	check("wlan0", "198.18.0.2:80")

	// Another address, of another network.
	laptop.removeAddress(t, "wlan0", "198.18.0.1/24")
	laptop.isWatched(t, "wlan0", false)
	laptop.address(t, "wlan0", "198.18.1.1/24")
	far.address(t, "peer0", "198.18.1.2/24")
	laptop.isWatched(t, "wlan0", true)
	check("wlan0", "198.18.1.2:80")

	// Set down it has no routes, of which the kernel says nothing.
	laptop.setUp(t, "wlan0", false)
	laptop.isWatched(t, "wlan0", false)
	laptop.setUp(t, "wlan0", true)
	laptop.isWatched(t, "wlan0", true)
	check("wlan0", "198.18.1.2:80")

	laptop.setUp(t, "wlan0", false)
	laptop.change(t, "wlan0", func(n *netlink.Handle, l netlink.Link) error { return n.LinkSetName(l, "wlp3s0") })
	laptop.setUp(t, "wlp3s0", true)
	w.awaitLog(t, "interface\": \"wlp3s0\"")
	laptop.isWatched(t, "wlp3s0", true)
	check("wlp3s0", "198.18.1.2:80")

	// Taken out, and put in again.
	laptop.change(t, "wlp3s0", func(n *netlink.Handle, l netlink.Link) error { return n.LinkDel(l) })
	wire(t, laptop, "wlp3s0", far, "peer0")
	laptop.address(t, "wlp3s0", "198.18.2.1/24")
	far.address(t, "peer0", "198.18.2.2/24")
	laptop.isWatched(t, "wlp3s0", true)
	check("wlp3s0", "198.18.2.2:80")

	tun := laptop.openTUN(t, "tun0")
	laptop.address(t, "tun0", "")
	laptop.isWatched(t, "tun0", false)
	laptop.routeTo(t, "203.0.113.0/24", "", "tun0", 100) // as VPNs do: for the rules of a table of their own
	laptop.isWatched(t, "tun0", true)
	if err := tun.Close(); err != nil {
		t.Fatal(err)
	}
	w.awaitLog(t, "No longer watching an interface.", "tun0")
	laptop.isWatched(t, "wlp3s0", true)
	laptop.isWatched(t, "lo", false)
}

// TestSameIndex: an interface that goes to another namespace and comes back has
// lost its programs, and has its index still.
func TestSameIndex(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	start(t, l.a, config{interfaces: "auto"})
	l.a.isWatched(t, nearName, true)
	index := l.a.index(t, nearName)
	l.a.change(t, nearName, func(n *netlink.Handle, i netlink.Link) error { return n.LinkSetNsFd(i, int(l.b.file.Fd())) })
	l.b.change(t, nearName, func(n *netlink.Handle, i netlink.Link) error { return n.LinkSetNsFd(i, int(l.a.file.Fd())) })
	if again := l.a.index(t, nearName); again != index {
		t.Skipf("it has index %d now, not %d", again, index)
	}
	l.configure(t, l.a, nearName, 0, 1)
	l.a.isWatched(t, nearName, true)
}

// TestMultipath: each interface of a route with several next hops is watched, also
// where it has no other.
func TestMultipath(t *testing.T) {
	t.Parallel()
	needKernel(t)
	h, far := newHost(t), newHost(t)
	start(t, h, config{interfaces: "{exclude: ['*2']}"})
	route := &netlink.Route{Table: 100, Dst: &net.IPNet{IP: net.IPv4(203, 0, 113, 0), Mask: net.CIDRMask(24, 32)}}
	for _, name := range []string{"up0", "up1", "up2"} {
		wire(t, h, name, far, "far-"+name)
		route.MultiPath = append(route.MultiPath, &netlink.NexthopInfo{LinkIndex: h.index(t, name)})
	}
	h.netlink(t, func(n *netlink.Handle) error { return n.RouteAdd(route) })
	h.isWatched(t, "up0", true)
	h.isWatched(t, "up1", true)
	h.isWatched(t, "up2", false) // excluded
	h.netlink(t, func(n *netlink.Handle) error { return n.RouteDel(route) })
	h.isWatched(t, "up0", false)
	h.isWatched(t, "up1", false)
}

// TestBadGlob: the error says where the glob is, and what is wrong with it.
func TestBadGlob(t *testing.T) {
	t.Parallel()
	needKernel(t)
	h := newHost(t)
	for interfaces, place := range map[string]string{
		"{include: ['eth[0-']}": "include::0", "{exclude: [lo, 'eth[0-']}": "exclude::1",
	} {
		log := refusal(t, h, config{interfaces: interfaces})
		want := `receivers::ebpf_connection::interfaces: ` + place + `: "eth[0-" is not a glob: a "[" without its "]"`
		if !strings.Contains(log, want) {
			t.Errorf("%s: want %q in\n%s", interfaces, want, tail(log, 5))
		}
	}
}
