package datapath

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tapName is the device that packets go out by to user space. Where several threads read,
// each has one of its own, and theirs are numbered: weir-hold1. They are not queues of one
// device, to which any process of the host could add its own (tun_not_capable in
// drivers/net/tun.c). Daemons that manage networks are told by the name to let them be (docs).
const tapName = "weir-hold"

func tapNameOf(queue int) string {
	if queue == 0 {
		return tapName
	}
	return tapName + strconv.Itoa(queue)
}

// isTap says whether a device is one of those.
func isTap(name string) bool {
	number, ok := strings.CutPrefix(name, tapName)
	return ok && strings.Trim(number, "0123456789") == ""
}

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

// tap is a device. It is the process's own, and goes with it.
type tap struct {
	name  string
	fd    int
	wake  int // eventfd: written to, a reader looks up
	index int
	cuts  bool // superpackets of UDP are cut before they come to it
}

// udpOffload are TUN_F_USO4 and USO6, since Linux 6.2; tests take them away.
var udpOffload = 0x20 | 0x40

// openTaps makes so many devices, whose indexes follow one another. They are down.
func openTaps(queues int) (taps []*tap, err error) {
	if queues == 1 {
		t, err := openTap(0, 0)
		if err != nil {
			return nil, err
		}
		return []*tap{t}, nil
	}
	const attempts = 10 // somebody else makes devices as well
	for range attempts {
		if taps, err = openTapsOnce(queues); !errors.Is(err, unix.EBUSY) {
			return taps, err
		}
	}
	return nil, err
}

func openTapsOnce(queues int) (taps []*tap, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	last := 0
	for _, l := range links {
		last = max(last, l.Attrs().Index)
	}
	for queue := range queues {
		t, err := openTap(queue, last+1+queue)
		if err != nil {
			for _, t := range taps {
				err = errors.Join(err, t.close())
			}
			return nil, err
		}
		taps = append(taps, t)
	}
	return taps, nil
}

// openTap makes a device, with an index unless that is 0.
func openTap(queue, index int) (t *tap, err error) {
	const device = "/dev/net/tun"
	t = &tap{name: tapNameOf(queue), fd: -1, wake: -1}
	defer func() {
		if err != nil {
			t, err = nil, errors.Join(err, t.close())
		}
	}()
	if t.fd, err = unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
		return t, needsPrivilege("open "+device+" (kernel module tun)", err)
	}
	if wanted := int32(index); wanted != 0 {
		if err := tunIoctl(t.fd, unix.TUNSETIFINDEX, unsafe.Pointer(&wanted)); err != nil {
			return t, fmt.Errorf("ask for the index %d for %s: %w", index, t.name, err)
		}
	}
	request, err := unix.NewIfreq(t.name)
	if err != nil {
		return t, err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
	if err := unix.IoctlIfreq(t.fd, unix.TUNSETIFF, request); err != nil {
		return t, needsPrivilege("make the device "+t.name, err)
	}
	const tso = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	if t.cuts = udpOffload == 0 || unix.IoctlSetInt(t.fd, unix.TUNSETOFFLOAD, tso|udpOffload) != nil; t.cuts {
		if err := unix.IoctlSetInt(t.fd, unix.TUNSETOFFLOAD, tso); err != nil {
			return t, fmt.Errorf("let %s have superpackets: %w", t.name, err)
		}
	}
	room := int32(1 << 30)
	if err := tunIoctl(t.fd, unix.TUNSETSNDBUF, unsafe.Pointer(&room)); err != nil {
		return t, fmt.Errorf("give %s room for what is written: %w", t.name, err)
	}
	if t.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return t, fmt.Errorf("make what wakes the reader of %s: %w", t.name, err)
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
	l, err := netlink.LinkByName(t.name)
	if err != nil {
		return fmt.Errorf("find %s: %w", t.name, err)
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
		return fmt.Errorf("take %s up: %w", t.name, err)
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
		return fmt.Errorf("wake the reader of %s: %w", t.name, err)
	}
	return nil
}

// wait returns when there is something to read, somebody looks, or after a while.
func (t *tap) wait(milliseconds int) error {
	fds := [2]unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}, {Fd: int32(t.wake), Events: unix.POLLIN}}
	_, err := unix.Poll(fds[:], milliseconds)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for packets of %s: %w", t.name, err)
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

// QueueOf is the queue, of so many, by which the packets of a connection are read while they
// are held (device_of in bpf/hold_state.h).
func QueueOf(id uint64, queues int) int { return int(uint16(id)) % queues }
