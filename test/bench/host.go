package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// host is a network namespace. Nothing names it, so it goes with its users.
type host struct {
	file *os.File
	// work is done by a thread that stays in the namespace: processes are started
	// by it, and end with it (Pdeathsig).
	work chan func()
}

func newHost() *host {
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
	must(<-made, "make a network namespace")
	h.sysctl("net/ipv4/conf/all/rp_filter", "0")
	h.sysctl("net/ipv4/conf/default/rp_filter", "0")
	h.sysctl("net/ipv6/conf/default/accept_dad", "0")
	h.sysctl("net/ipv6/conf/default/router_solicitations", "0")
	h.netlink(func(n *netlink.Handle) error {
		lo, err := n.LinkByName("lo")
		if err != nil {
			return err
		}
		return n.LinkSetUp(lo)
	})
	return h
}

func (h *host) close() {
	close(h.work)
	h.file.Close()
}

// do runs f in the namespace, by the thread that outlives the call. Failures come
// out in the caller.
func (h *host) do(f func()) {
	done := make(chan any)
	h.work <- func() {
		defer func() { done <- recover() }()
		f()
	}
	if p := <-done; p != nil {
		panic(p)
	}
}

// run runs f in the namespace, by a thread of its own: f may block.
func (h *host) run(f func()) {
	done := make(chan any)
	go func() {
		defer func() { done <- recover() }()
		runtime.LockOSThread()
		must(unix.Setns(int(h.file.Fd()), unix.CLONE_NEWNET), "enter a network namespace")
		f()
	}()
	if p := <-done; p != nil {
		panic(p)
	}
}

func (h *host) netlink(f func(*netlink.Handle) error) {
	n, err := netlink.NewHandleAt(netns.NsHandle(h.file.Fd()), unix.NETLINK_ROUTE)
	must(err, "open netlink")
	defer n.Close()
	must(f(n), "set up interfaces")
}

func (h *host) sysctl(name, value string) {
	var err error
	h.do(func() { err = os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
	must(err, "set %s", name)
}

// command runs a program in the namespace, with text as its input.
func (h *host) command(text string, name string, args ...string) {
	must(h.try(text, name, args...), "run %s", name)
}

func (h *host) try(text string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	var out []byte
	var err error
	h.do(func() {
		in, e := os.CreateTemp("", "weir-bench")
		if err = e; e != nil {
			return
		}
		defer in.Close()
		os.Remove(in.Name())
		if _, err = in.WriteString(text); err != nil {
			return
		}
		if _, err = in.Seek(0, 0); err != nil {
			return
		}
		cmd.Stdin = in
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
		out, err = cmd.CombinedOutput()
	})
	if err != nil {
		return fmt.Errorf("%w: %.300s", err, out)
	}
	return nil
}

// pair joins two hosts by a veth pair whose ends are up.
func pair(a *host, nameA string, b *host, nameB string) {
	a.netlink(func(n *netlink.Handle) error {
		return n.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: nameA, HardwareAddr: macA}, PeerName: nameB,
			PeerNamespace: netlink.NsFd(b.file.Fd()), PeerHardwareAddr: macB,
		})
	})
	for _, end := range []struct {
		h    *host
		name string
	}{{a, nameA}, {b, nameB}} {
		end.h.netlink(func(n *netlink.Handle) error {
			l, err := n.LinkByName(end.name)
			if err != nil {
				return err
			}
			return n.LinkSetUp(l)
		})
	}
}

var (
	macA = net.HardwareAddr{2, 0, 0, 0, 0, 0x0a}
	macB = net.HardwareAddr{2, 0, 0, 0, 0, 0x0b}
)

func (h *host) index(name string) (index int) {
	h.netlink(func(n *netlink.Handle) error {
		l, err := n.LinkByName(name)
		if err == nil {
			index = l.Attrs().Index
		}
		return err
	})
	return index
}

// address adds an address to an interface.
func (h *host) address(name, prefix string) {
	h.netlink(func(n *netlink.Handle) error {
		l, err := n.LinkByName(name)
		if err != nil {
			return err
		}
		ip, network, err := net.ParseCIDR(prefix)
		if err != nil {
			return err
		}
		network.IP = ip
		return n.AddrAdd(l, &netlink.Addr{IPNet: network, Flags: unix.IFA_F_NODAD})
	})
}

// useNAPI turns GRO on: an end of a veth pair takes frames from XDP programs only
// where it has a NAPI, and that it has with GRO.
func (h *host) useNAPI(name string) {
	const setGRO = 0x2c // ETHTOOL_SGRO
	value := struct{ command, data uint32 }{setGRO, 1}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		pad  [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:], name)
	h.run(func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		must(err, "open a socket")
		defer unix.Close(fd)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
		if errno != 0 {
			must(errno, "turn on GRO of %s", name)
		}
	})
}

// hosts are those of one line.
type hosts []*host

func (s *hosts) add() *host {
	h := newHost()
	*s = append(*s, h)
	return h
}

func (s *hosts) close() {
	for _, h := range *s {
		h.close()
	}
}
