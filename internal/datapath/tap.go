package datapath

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tapName is the device that packets go out by to user space. Daemons that manage
// networks are told by its name to let it be (docs).
const tapName = "weir-hold"

const (
	tapQueue = 1000 // packets that wait to be read
	// struct virtio_net_hdr, which comes before each: checksums and segments that are
	// left to whoever sends it on.
	vnetHeader = 10
)

// withoutIPv6 is an MTU with which the kernel has no IPv6 on a device (addrconf_notify in
// net/ipv6/addrconf.c; RFC 8200 section 5 wants 1280). The sysctl disable_ipv6 would do
// as well, but containers have /proc/sys read-only. Packets that are redirected to a
// device, or read from it and written to it, do not ask for its MTU.
const withoutIPv6 = 1279

// tap is the device. It is the process's own, and goes with it.
type tap struct {
	fd    int
	wake  int // eventfd: written to, a reader looks up
	index int
	cuts  bool // superpackets of UDP are cut before they come to it
}

// udpOffload are TUN_F_USO4 and USO6, since Linux 6.2; tests take them away.
var udpOffload = 0x20 | 0x40

// openTap makes the device. It is down.
func openTap() (t *tap, err error) {
	const device = "/dev/net/tun"
	t = &tap{fd: -1, wake: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if t.fd, err = unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
		return t, needsPrivilege("open "+device+" (kernel module tun)", err)
	}
	request, err := unix.NewIfreq(tapName)
	if err != nil {
		return t, err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
	if err := unix.IoctlIfreq(t.fd, unix.TUNSETIFF, request); err != nil {
		return t, needsPrivilege("make the device "+tapName, err)
	}
	const tso = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	if t.cuts = udpOffload == 0 || unix.IoctlSetInt(t.fd, unix.TUNSETOFFLOAD, tso|udpOffload) != nil; t.cuts {
		if err := unix.IoctlSetInt(t.fd, unix.TUNSETOFFLOAD, tso); err != nil {
			return t, fmt.Errorf("let %s have superpackets: %w", tapName, err)
		}
	}
	room := int32(1 << 30)
	if err := tunIoctl(t.fd, unix.TUNSETSNDBUF, unsafe.Pointer(&room)); err != nil {
		return t, fmt.Errorf("give %s room for what is written: %w", tapName, err)
	}
	if t.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return t, fmt.Errorf("make what wakes the reader of %s: %w", tapName, err)
	}
	return t, t.configure()
}

func tunIoctl(fd int, request uint, value unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(value)); errno != 0 {
		return errno
	}
	return nil
}

// configure keeps the host's own stack off the device.
func (t *tap) configure() error {
	l, err := netlink.LinkByName(tapName)
	if err != nil {
		return fmt.Errorf("find %s: %w", tapName, err)
	}
	t.index = l.Attrs().Index
	return errors.Join(
		netlink.LinkSetMTU(l, withoutIPv6), netlink.LinkSetARPOff(l), netlink.LinkSetTxQLen(l, tapQueue),
		netlink.LinkSetAlias(l, "Weir: packets that wait for a verdict; leave it alone"))
}

func (t *tap) up() error {
	l, err := netlink.LinkByIndex(t.index)
	if err == nil {
		err = netlink.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("take %s up: %w", tapName, err)
	}
	return nil
}

// dropped is how many packets found the queue full.
func (t *tap) dropped() uint64 {
	l, err := netlink.LinkByIndex(t.index)
	if err != nil || l.Attrs().Statistics == nil {
		return 0
	}
	return l.Attrs().Statistics.TxDropped
}

// look wakes whoever waits in wait.
func (t *tap) look() error {
	one := [8]byte{1}
	if _, err := unix.Write(t.wake, one[:]); err != nil && !errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("wake the reader of %s: %w", tapName, err)
	}
	return nil
}

// wait returns when there is something to read, somebody looks, or after a while.
func (t *tap) wait(milliseconds int) error {
	fds := [2]unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}, {Fd: int32(t.wake), Events: unix.POLLIN}}
	_, err := unix.Poll(fds[:], milliseconds)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for packets of %s: %w", tapName, err)
	}
	if fds[1].Revents != 0 {
		var count [8]byte
		unix.Read(t.wake, count[:]) // at most somebody else has
	}
	return nil
}

func (t *tap) close() error {
	var errs []error
	for _, fd := range []int{t.fd, t.wake} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}
