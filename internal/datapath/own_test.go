package datapath

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
)

// ownFlow is the entry of a connection from a socket that is Weir's own, or not.
func ownFlow(t *testing.T, d *Datapath, own bool, port uint16) (f bpf.ConnectionsFlow) {
	t.Helper()
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 68, 0, 2}), port)
	forget := func() {}
	dialer := net.Dialer{Timeout: 100 * time.Millisecond, Control: func(_, _ string, raw syscall.RawConn) error {
		return errors.Join(raw.Control(func(fd uintptr) {
			if !own {
				return
			}
			cookie, err := unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
			if err == nil {
				forget, err = d.OwnSocket(cookie)
			}
			if err != nil {
				t.Error(err)
			}
		}))
	}}
	var source netip.AddrPort
	dialer.LocalAddr = &net.TCPAddr{IP: net.IP{10, 68, 0, 1}, Port: int(port) + 1000}
	source = dialer.LocalAddr.(*net.TCPAddr).AddrPort()
	if c, err := dialer.Dial("tcp4", to.String()); err == nil {
		c.Close()
		t.Fatal("somebody answers")
	}
	forget()
	k, _ := flowKey(packet.Tuple{
		Source: source.Addr().Unmap(), SourcePort: source.Port(), Destination: to.Addr(), DestinationPort: port, Protocol: packet.TCP,
	})
	if err := d.objects.Flows.Lookup(k, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestOwnSocket: a socket that is known to be Weir's own is allowed by the safeguard,
// and no other.
func TestOwnSocket(t *testing.T) {
	d := openMutant(t)
	nstest.Veth(t, "own0", "own1")
	near, err := netlink.LinkByName("own0")
	if err == nil {
		err = netlink.AddrReplace(near, &netlink.Addr{IPNet: &net.IPNet{IP: net.IP{10, 68, 0, 1}, Mask: net.CIDRMask(24, 32)}})
	}
	if err == nil {
		err = netlink.NeighSet(&netlink.Neigh{
			LinkIndex: near.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.IP{10, 68, 0, 2}, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	d.config.Include = []string{"own0"}
	swap(t, d, load(t, "mode: prevent\ndefault_action: block\nreject: never\nrules: [{name: other, action: allow, layer4: {udp: 1}}]"))
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}
	const flag = uint32(bpf.ConnectionsFlowFlagsFLOW_OWN)
	for i, k := range []struct {
		own    bool
		mutant int
		is     bool
	}{{true, 0, true}, {false, 0, false}, {true, 32, false}} {
		setMutant(t, d, k.mutant)
		f := ownFlow(t, d, k.own, uint16(7000+i))
		dropped := f.Flags&uint32(bpf.ConnectionsFlowFlagsFLOW_DROP) != 0
		if is := f.Flags&flag != 0; is != k.is || dropped == k.is {
			t.Errorf("%+v: flags %#x", k, f.Flags)
		}
	}
	var cookie uint64
	var value uint8
	if d.objects.OwnSockets.Iterate().Next(&cookie, &value) {
		t.Error("sockets that are closed are still known")
	}
}
