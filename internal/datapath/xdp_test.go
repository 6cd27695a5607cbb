package datapath

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// withXDP gives a datapath that blocks what comes in by one end of a veth pair, by
// XDP too, and is kept. Its log is what it has to say.
func withXDP(t *testing.T, mode XDP) (*Datapath, *observer.ObservedLogs) {
	t.Helper()
	log, told := observer.New(zap.InfoLevel)
	d, err := Open(Config{MaxEntries: 1 << 10, Include: []string{near}, XDP: mode}, zap.New(log))
	if err != nil {
		t.Fatal(err)
	}
	swap(t, d, load(t, xdpPolicy))
	if err := d.SetKeep(true); err != nil {
		t.Fatal(err)
	}
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}
	return d, told
}

// interfaceIndex is that of an interface of this namespace.
func interfaceIndex(t *testing.T, name string) int {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().Index
}

// hasXDP says whether a program is in the XDP hook.
func hasXDP(t *testing.T) bool {
	t.Helper()
	l, err := netlink.LinkByName(near)
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().Xdp != nil && l.Attrs().Xdp.Attached
}

// await waits until it is so: packets cross a veth pair by and by.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for limit := time.Now().Add(5 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal(what)
		}
	}
}

// blockedPackets are those of the connection of sendFrames().
func blockedPackets(t *testing.T, d *Datapath) uint64 {
	t.Helper()
	k, _ := flowKey(packet.Tuple{
		Protocol: packet.UDP, Source: address("192.0.2.1"), SourcePort: 4000,
		Destination: address("192.0.2.2"), DestinationPort: 4001,
	})
	var f bpf.ConnectionsFlow
	if d.objects.Flows.Lookup(k, &f) != nil {
		return 0
	}
	return f.Packets[0]
}

// TestXDP: what is blocked is dropped early, and counted as it would be; with nobody
// there, too; until it is switched off, or unloaded.
func TestXDP(t *testing.T) {
	for mode, name := range map[XDP]string{XDPNative: "native", XDPGeneric: "generic"} {
		t.Run(name, func(t *testing.T) {
			network(t)
			index := interfaceIndex(t, "wt1")
			d, told := withXDP(t, mode)
			t.Cleanup(func() { os.RemoveAll(d.pins.folder) })
			sendFrames(t, index)
			// The first opens the connection; those that cross the veth pair with it find no entry yet.
			await(t, "ten packets are not counted", func() bool { return blockedPackets(t, d) == 10 })
			early := counter(t, d, "xdp_dropped")
			if early == 0 || early > 9 {
				t.Fatalf("%d of ten packets were dropped early; the log: %v", early, told.All())
			}
			if packets, verdicts := counted(t, d); packets != 10 || verdicts != 1 {
				t.Errorf("%d packets and %d verdicts are counted; want 10, 1", packets, verdicts)
			}
			if mode == XDPGeneric { // the rest is the same
				if err := errors.Join(d.SetKeep(false), d.Close()); err != nil {
					t.Error(err)
				}
				return
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			sendFrames(t, index) // nobody reads
			d, _ = withXDP(t, mode)
			await(t, "what came meanwhile is not counted", func() bool { return blockedPackets(t, d) == 20 })
			// The policy was put in force anew: the first packet is judged by it.
			if n := counter(t, d, "xdp_dropped"); n != early+10 {
				t.Errorf("%d were dropped early after it, not %d", n, early+10)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d, told = withXDP(t, XDPGeneric)
			if d.attached[interfaceIndex(t, near)].hooks[XDPGeneric.hook()] == nil {
				t.Errorf("the mode cannot be changed: %v", told.All())
			}
			sendFrames(t, index)
			await(t, "no packet is dropped in the other mode", func() bool { return counter(t, d, "xdp_dropped") > early+10 })
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if d, _ = withXDP(t, XDPOff); hasXDP(t) {
				t.Error("switched off it is still in the hook")
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if d, _ = withXDP(t, mode); !hasXDP(t) {
				t.Error("switched on again it is not in the hook")
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			removed, err := Unload(false, false)
			if err != nil || !strings.Contains(strings.Join(removed, "\n"), "-xdp_native") || hasXDP(t) || inHooks(t, near) != 0 {
				t.Errorf("unloaded: %v, removed %q", err, removed)
			}
		})
	}
}

// TestXDPOfOthers: where another program is in the hook, the interface is watched
// without.
func TestXDPOfOthers(t *testing.T) {
	network(t)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: interfaceIndex(t, near)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, told := withXDP(t, XDPGeneric)
	defer func() { errors.Join(d.SetKeep(false), d.Close()) }()
	for range 2 {
		d.settleAgain()
	}
	if told.FilterMessageSnippet("watched without XDP").Len() != 1 {
		t.Errorf("the log does not say so, once: %v", told.All())
	}
	sendFrames(t, interfaceIndex(t, "wt1"))
	await(t, "it does not block", func() bool { return blockedPackets(t, d) == 10 })
	if n := counter(t, d, "xdp_dropped"); n != 0 {
		t.Errorf("%d were dropped early", n)
	}
}

// TestXDPWithTags: an interface that hides the tags of packets which somebody may
// want has no XDP program, as long as that is so.
func TestXDPWithTags(t *testing.T) {
	network(t)
	d, told := withXDP(t, XDPGeneric)
	defer func() { errors.Join(d.SetKeep(false), d.Close()) }()
	if !hasXDP(t) || !hidesTags(near) || !hidesTags("no such interface") {
		t.Fatalf("at first: %v", told.All())
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge0"}}
	l, err := netlink.LinkByName(near)
	if err := errors.Join(err, netlink.LinkAdd(bridge), netlink.LinkSetMaster(l, bridge)); err != nil {
		t.Fatal(err)
	}
	await(t, "as a part of a bridge it keeps the program", func() bool { return !hasXDP(t) })
	await(t, "the log does not say why", func() bool { return told.FilterMessageSnippet("watched without XDP").Len() == 1 })
	if err := netlink.LinkSetNoMaster(l); err != nil {
		t.Fatal(err)
	}
	await(t, "the program does not come back", func() bool { return hasXDP(t) })
}

// TestWhereXDPIsWanted: which interfaces may have the program, by what is around them.
func TestWhereXDPIsWanted(t *testing.T) {
	d := &Datapath{paths: newPaths(false)}
	for _, i := range []iface{
		{index: 1, name: "trunk", encap: "ether"},
		{index: 2, name: "trunk.5", encap: "ether", kind: "vlan", vlan: 5, parent: 1},
		{index: 3, name: "alone", encap: "ether"},
		{index: 4, name: "slave", encap: "ether", master: 5},
		{index: 5, name: "bond", encap: "ether", kind: "bond"},
		{index: 6, name: "of a VRF", encap: "ether", master: 7},
		{index: 7, name: "vrf", encap: "ether", kind: "vrf", table: 7},
		{index: 8, name: "bridge", encap: "ether", kind: "bridge"},
		{index: 9, name: "tunnel", encap: "none"},
		{index: 10, name: "macvlan", encap: "ether", kind: "macvlan", parent: 11},
		{index: 11, name: "under it", encap: "ether"},
		{index: 12, name: "one end", encap: "ether", kind: "veth", parent: 13},
		{index: 13, name: "other end", encap: "ether", kind: "veth", parent: 12},
	} {
		d.paths.set(i)
	}
	for name, want := range map[string]string{
		"trunk": "VLAN tags", "trunk.5": "by another interface", "alone": "", "slave": "VLAN tags", "bond": "", "of a VRF": "",
		"bridge": "by another interface", "tunnel": "no Ethernet interface", "macvlan": "by another interface", "under it": "VLAN tags",
		"one end": "", "other end": "",
	} {
		for _, i := range d.paths.interfaces {
			if got := d.withoutXDP(i); i.name == name && (want == "") != (got == "") || i.name == name && !strings.Contains(got, want) {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
}

// TestHandoverOfXDP: the XDP program of an earlier Weir counts in maps of another
// layout; it is taken away before they are read.
func TestHandoverOfXDP(t *testing.T) {
	network(t)
	index := interfaceIndex(t, "wt1")
	current := earlierWeir(t)
	loadXDP = func() (*ebpf.CollectionSpec, error) { return ebpf.LoadCollectionSpec("testdata/other_layout_xdp.o") }
	defer func() { loadXDP = bpf.LoadXDP }()
	d, _ := withXDP(t, XDPGeneric)
	sendFrames(t, index)
	await(t, "nothing is dropped early", func() bool { return counter(t, d, "xdp_dropped") == 9 })
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	current()
	loadXDP = bpf.LoadXDP
	d, told := withXDP(t, XDPGeneric)
	defer func() { errors.Join(d.SetKeep(false), d.Close()) }()
	if told.FilterMessageSnippet("were taken over").Len() != 1 || !hasXDP(t) {
		t.Errorf("the log: %v", told.All())
	}
	sendFrames(t, index)
	await(t, "it does not go on", func() bool { return blockedPackets(t, d) == 20 })
	if n := counter(t, d, "xdp_dropped"); n != 18 {
		t.Errorf("%d are counted as dropped early, not 18", n)
	}
}
