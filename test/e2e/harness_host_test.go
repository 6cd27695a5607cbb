package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// host is a network namespace. Nothing names it, so it goes with its users.
type host struct {
	file *os.File
	// work is done by a thread that stays in the namespace as long as the test
	// runs: processes are started by it, and end with it (Pdeathsig).
	work chan func()
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{work: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			h.file, err = os.Open("/proc/thread-self/ns/net")
		}
		made <- err
		for f := range h.work {
			f()
		}
	}()
	if err := <-made; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() {
		close(h.work)
		h.file.Close()
	})
	h.netlink(t, func(n *netlink.Handle) error {
		lo, err := n.LinkByName("lo")
		if err != nil {
			return err
		}
		return n.LinkSetUp(lo)
	})
	// Fixed header sizes, so that bytes can be computed from segments.
	h.sysctl(t, "net/ipv4/tcp_sack", "0")
	return h
}

// do runs f in the namespace, by the thread that outlives the call.
func (h *host) do(f func()) {
	done := make(chan struct{})
	h.work <- func() { defer close(done); f() }
	<-done
}

// run runs f in the namespace, by a thread of its own: f may block. Sockets that
// f opens stay in the namespace.
func (h *host) run(f func()) {
	if err := h.tryRun(f); err != nil {
		panic(err) // nothing may run in another namespace
	}
}

// tryRun is run for what may go on behind the end of a test, when the namespace is
// gone: nothing is run then.
func (h *host) tryRun(f func()) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = unix.Setns(int(h.file.Fd()), unix.CLONE_NEWNET); err == nil {
			f()
		}
	}()
	<-done
	return err
}

func (h *host) netlink(t *testing.T, f func(*netlink.Handle) error) {
	t.Helper()
	n, err := netlink.NewHandleAt(netns.NsHandle(h.file.Fd()), unix.NETLINK_ROUTE)
	if err == nil {
		defer n.Close()
		err = f(n)
	}
	if err != nil {
		t.Fatalf("set up interfaces: %v", err)
	}
}

func (h *host) sysctl(t *testing.T, name, value string) {
	t.Helper()
	var err error
	h.run(func() { err = os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
	if err != nil {
		t.Fatal(err)
	}
}

// lab is two hosts joined by a veth pair: Weir runs on a, the peer is b. Both
// have an address in each of several networks, so that a rule may be about one.
type lab struct {
	a, b *host
}

// The interfaces, and the number of networks.
const (
	nearName = "weir0"
	farName  = "peer0"
	networks = 8
)

func newLab(t *testing.T) *lab {
	t.Helper()
	needKernel(t)
	l := &lab{a: newHost(t), b: newHost(t)}
	l.join(t, nearName, farName, 0, networks)
	return l
}

// join makes a veth pair with addresses in the networks from first on.
func (l *lab) join(t *testing.T, near, far string, first, count int) {
	t.Helper()
	l.a.netlink(t, func(n *netlink.Handle) error {
		return n.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: near}, PeerName: far, PeerNamespace: netlink.NsFd(l.b.file.Fd()),
		})
	})
	l.configure(t, l.a, near, first, count)
	l.configure(t, l.b, far, first, count)
	awaitCarrier(t, l.a, near, l.b, far)
}

// awaitCarrier waits until the kernel knows that a pair of interfaces carries. That
// is up to a second after they are set up, and what asks for a neighbour before is
// lost.
func awaitCarrier(t *testing.T, a *host, aName string, b *host, bName string) {
	t.Helper()
	await(t, "the carrier of "+aName, func() bool { return a.isUp(t, aName) && b.isUp(t, bName) })
}

func (h *host) isUp(t *testing.T, name string) (up bool) {
	t.Helper()
	h.netlink(t, func(n *netlink.Handle) error {
		i, err := n.LinkByName(name)
		up = err == nil && i.Attrs().OperState == netlink.OperUp
		return err
	})
	return up
}

func (l *lab) configure(t *testing.T, h *host, name string, first, count int) {
	t.Helper()
	h.sysctl(t, "net/ipv6/conf/"+name+"/router_solicitations", "0")
	h.sysctl(t, "net/ipv6/conf/"+name+"/accept_dad", "0") // or neighbours are not asked for, for a second
	h.netlink(t, func(n *netlink.Handle) error {
		i, err := n.LinkByName(name)
		if err != nil {
			return err
		}
		for network := first; network < first+count; network++ {
			for _, family := range families {
				bits := 24
				if family == ipv6 {
					bits = 64
				}
				ip := net.IP(l.address(h, family, network).AsSlice())
				a := &netlink.Addr{
					IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, len(ip)*8)}, Flags: unix.IFA_F_NODAD,
				}
				if err := n.AddrAdd(i, a); err != nil {
					return fmt.Errorf("add %v: %w", a, err)
				}
			}
		}
		return n.LinkSetUp(i)
	})
}

// family is an IP version.
type family int

const (
	ipv4 family = 4
	ipv6 family = 6
)

var families = []family{ipv4, ipv6}

func (f family) String() string { return fmt.Sprintf("ipv%d", int(f)) }

// address is h's in that network: 10.77.<network>.1 and fd77:<network>::1 of a,
// 2 of b.
func (l *lab) address(h *host, f family, network int) netip.Addr {
	last := byte(1)
	if h == l.b {
		last = 2
	}
	if f == ipv4 {
		return netip.AddrFrom4([4]byte{10, 77, byte(network), last})
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x77, 3: byte(network), 15: last})
}

// nets are a network's two prefixes, as a policy writes them.
func nets(network int) string {
	return fmt.Sprintf("[10.77.%d.0/24, 'fd77:%x::/64']", network, network)
}

var needed = sync.OnceValue(func() string {
	if os.Geteuid() != 0 {
		return "needs root: makes network namespaces and loads programs into the kernel"
	}
	if err := features.HaveProgramHelper(ebpf.SchedCLS, asm.FnLoop); err != nil {
		return fmt.Sprintf("needs a kernel that loads Weir's programs (Linux 5.17): %v", err)
	}
	return ""
})

// needKernel skips the test where it cannot run.
func needKernel(t *testing.T) {
	t.Helper()
	if why := needed(); why != "" {
		t.Skip(why)
	}
}
