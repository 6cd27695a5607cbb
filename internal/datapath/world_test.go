package datapath

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
)

// The devices of the test's namespace. Nothing is attached to them: the programs
// are told that they watch them, and are given packets by BPF_PROG_TEST_RUN.
type device int

const (
	outside   device = iota // watched, towards the peers
	inside                  // watched, towards others, whom this host forwards to
	vlan                    // watched, and of a zone
	bridge                  // watched, and taken for a bridge
	loopback                // watched
	unwatched               // packets come in by it that nothing has seen
	deviceCount
)

const vlanZone = 5

// world is what the test knows of the namespace: enough to tell the reference
// what the kernel finds out.
type world struct {
	index    [deviceCount]uint32
	mac      [deviceCount][6]byte
	process  bpf.ConnectionsAgent // this one, as the kernel knows it
	agent    bool                 // the agent was heard of lately: what this process sends is its own
	bare     bool                 // frames have no Ethernet header: the programs of such devices run
	datapath *Datapath
	xdp      *early // nil: without
}

// The addresses of this host, and those around it.
var (
	local4  = address("10.0.0.1")
	local6  = address("fd00::1")
	inside4 = address("10.0.1.1") // of the device inside
	inside6 = address("fd00:1::1")
	peers4  = []netip.Addr{address("10.0.0.2"), address("10.0.0.3")}
	peers6  = []netip.Addr{address("fd00::2"), address("fd00::3")}
	behind4 = []netip.Addr{address("10.0.1.2"), address("10.0.1.3")}
	behind6 = []netip.Addr{address("fd00:1::2"), address("fd00:1::3")}
)

func newWorld(t testing.TB, d *Datapath) *world {
	t.Helper()
	nstest.Need(t)
	w := &world{datapath: d}
	nstest.Veth(t, "wt0", "wt1")
	nstest.Veth(t, "wt2", "wt3")
	nstest.Veth(t, "wt4", "wt5")
	for of, name := range map[device]string{
		outside: "wt0", inside: "wt1", vlan: "wt2", bridge: "wt3", unwatched: "wt4", loopback: "lo",
	} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		w.index[of] = uint32(l.Attrs().Index)
		copy(w.mac[of][:], l.Attrs().HardwareAddr)
		for _, prefix := range map[device][]string{
			outside: {"10.0.0.1/24", "fd00::1/64"}, inside: {"10.0.1.1/24", "fd00:1::1/64"},
		}[of] {
			ip, network, err := net.ParseCIDR(prefix)
			if err != nil {
				t.Fatal(err)
			}
			network.IP = ip
			if err := netlink.AddrReplace(l, &netlink.Addr{IPNet: network, Flags: unix.IFA_F_NODAD}); err != nil {
				t.Fatalf("add %s: %v", prefix, err)
			}
		}
		if flags := w.flags(of); flags != 0 {
			if err := d.noteInterface(int(w.index[of]), flags); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A sweep notes the agent that it is run by.
	if _, err := d.Sweep(Timeouts{}, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.objects.Agents.Lookup(uint32(0), &w.process); err != nil {
		t.Fatal(err)
	}
	// What is for another host is forwarded.
	for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// flags are what the programs are told of the device (see interfaceFlags).
func (w *world) flags(d device) uint32 {
	flags := uint32(bpf.ConnectionsInterfaceFlagsINTERFACE_WATCHED)
	switch d {
	case unwatched:
		return 0
	case vlan:
		flags |= vlanZone
	case bridge:
		flags |= uint32(bpf.ConnectionsInterfaceFlagsINTERFACE_BRIDGE)
	case loopback:
		flags |= uint32(bpf.ConnectionsInterfaceFlagsINTERFACE_LOOPBACK)
	}
	return flags
}

// place is where a packet is seen.
type place struct {
	at     device
	egress bool
	// from is where what goes out came in; nowhere: this host sends it.
	from device
}

const nowhere device = -1

func in(at device) place           { return place{at: at, from: nowhere} }
func sent(at device) place         { return place{at: at, egress: true, from: nowhere} }
func passed(at, from device) place { return place{at: at, egress: true, from: from} }
func (p place) isJudged() bool     { return p.egress && p.from != nowhere && p.from != unwatched }
func (p place) isSentByHost() bool { return p.egress && p.from == nowhere }
func isGroupMAC(frame []byte) bool { return frame[0]&1 != 0 }
func isTagged(frame []byte) bool {
	kind := binary.BigEndian.Uint16(frame[12:])
	return kind == 0x8100 || kind == 0x88a8
}
func (w *world) isTo(d device, frame []byte) bool { return [6]byte(frame) == w.mac[d] }

// hook tells the reference what the kernel finds out of a frame whose packet is p.
func (w *world) hook(at place, frame []byte, p *packet.Packet) flow.Hook {
	h := flow.Hook{
		Interface: w.index[at.at], Egress: at.egress, Judged: at.isJudged(), SentByHost: at.isSentByHost(),
		Loopback: at.at == loopback, OwnProcess: at.isSentByHost() && w.agent,
	}
	if !at.egress {
		others := !isGroupMAC(frame) && !w.isTo(at.at, frame)
		h.ForHost = !others && (isGroupMAC(frame) || isForHost(p.Destination))
		h.Above = at.at == bridge || at.at == loopback || at.at == vlan && (w.bare || !isTagged(frame))
		h.Flooded = others && at.at == bridge
	}
	return h
}

// isForHost is what the namespace's routing table says.
func isForHost(to netip.Addr) bool {
	switch to {
	case local4, local6, inside4, inside6:
		return true
	}
	return !to.IsValid() || to.IsLoopback() || to.IsMulticast()
}

// decode gives the packet of a frame that is seen there.
func (w *world) decode(p *packet.Packet, s *step) packet.Outcome {
	f := packet.Frame{Data: s.frame, Link: packet.LinkEthernet, GSOSize: int(s.gso)}
	if w.bare {
		f.Link = packet.LinkRaw
	}
	if s.at.at == vlan {
		f.Zone.Outer = vlanZone
	}
	return p.Decode(&f)
}

// run sends a frame through the program of its place.
func (w *world) run(at place, frame []byte, gso uint32) (uint32, error) {
	context := make([]byte, 192) // struct __sk_buff, all but these as the kernel finds it
	const ingressIndex, index, gsoSize = 36, 40, 176
	binary.NativeEndian.PutUint32(context[index:], w.index[at.at])
	binary.NativeEndian.PutUint32(context[gsoSize:], gso)
	if w.xdp != nil && !at.egress && !w.bare && w.xdp.drops(w.index[at.at], at.at, frame, gso) {
		return drop, nil
	}
	o := &w.datapath.objects
	program, from := o.Egress, at.from
	switch {
	case at.egress && w.bare:
		program = o.EgressL3
	case w.bare:
		program, from = o.IngressL3, at.at
	case !at.egress:
		program, from = o.Ingress, at.at
	}
	if from != nowhere {
		binary.NativeEndian.PutUint32(context[ingressIndex:], w.index[from])
	}
	return program.Run(&ebpf.RunOptions{Data: frame, Context: context})
}

// setAgent has the programs take what this process sends for the agent's own, or
// not.
func (w *world) setAgent(t testing.TB, on bool) {
	t.Helper()
	w.agent = on
	var agent bpf.ConnectionsAgent
	if on {
		agent = w.process
		agent.Alive = uint64(now(t))
	}
	if err := w.datapath.objects.Agents.Put(uint32(0), agent); err != nil {
		t.Fatal(err)
	}
}
