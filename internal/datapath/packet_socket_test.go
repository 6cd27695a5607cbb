package datapath

import (
	"encoding/binary"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
)

// TestPacketSocket: what a process sends by a packet socket is judged as what it is,
// not as what the process calls it.
func TestPacketSocket(t *testing.T) {
	d := open(t)
	nstest.Veth(t, "raw0", "raw1")
	d.config.Include = []string{"raw0"}
	swap(t, d, load(t, "mode: prevent\nreject: never\nrules: [{name: little, action: allow, layer4: {udp: 7000}}]"))
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName("raw0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	for i, called := range []uint16{packet.EtherTypeIPv4, packet.EtherTypeARP, packet.EtherTypeIPv6, 0x88cc} {
		tp := packet.Tuple{Source: local4, Destination: peers4[0], Protocol: packet.UDP, SourcePort: 40000, DestinationPort: uint16(8000 + i)}
		to := &unix.SockaddrLinklayer{
			Protocol: binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, called)), Ifindex: link.Attrs().Index,
		}
		// A packet socket's send says ENOBUFS where it was dropped.
		if err := unix.Sendto(s, frame(tp), 0, to); err != nil && err != unix.ENOBUFS {
			t.Fatal(err)
		}
		k, _ := flowKey(tp)
		var f bpf.ConnectionsFlow
		if err := d.objects.Flows.Lookup(k, &f); err != nil {
			t.Errorf("called %#x: it has no entry: %v", called, err)
		} else if f.Flags&uint32(bpf.ConnectionsFlowFlagsFLOW_DROP) == 0 || f.Packets[0] != 1 {
			t.Errorf("called %#x: flags %#x, packets %v", called, f.Flags, f.Packets)
		}
	}
}
