package datapath

import (
	"maps"
	"testing"

	"github.com/weirnet/weir/bpf"
)

// hostOf is paths of interfaces numbered from 1 in their order.
func hostOf(list ...iface) *paths {
	p := newPaths(true)
	for n, i := range list {
		i.index = n + 1
		p.set(i)
	}
	return p
}

func TestInterfaceZones(t *testing.T) {
	const vrf = 0xfff << 12
	wire := iface{name: "eth0"}
	for _, test := range []struct {
		name string
		host *paths
		want map[int]uint32
	}{
		{"a plain host", hostOf(wire), map[int]uint32{}},
		{"a VLAN device", hostOf(wire, iface{kind: "vlan", parent: 1, vlan: 5}), map[int]uint32{2: 5}},
		{
			"nested VLAN devices",
			hostOf(wire, iface{kind: "vlan", parent: 1, vlan: 5}, iface{kind: "vlan", parent: 2, vlan: 6}),
			map[int]uint32{2: 5, 3: 6<<12 | 5},
		},
		{
			"of three ids the outermost and the innermost",
			hostOf(wire, iface{kind: "vlan", parent: 1, vlan: 5}, iface{kind: "vlan", parent: 2, vlan: 6}, iface{kind: "vlan", parent: 3, vlan: 7}),
			map[int]uint32{2: 5, 3: 6<<12 | 5, 4: 7<<12 | 5},
		},
		{"a VLAN device that came from another namespace", hostOf(iface{kind: "vlan", vlan: 5}), map[int]uint32{1: 5}},
		{
			"a macvlan on a VLAN device",
			hostOf(wire, iface{kind: "vlan", parent: 1, vlan: 5}, iface{kind: "macvlan", parent: 2}),
			map[int]uint32{2: 5, 3: 5},
		},
		{"a tunnel on a VLAN device", hostOf(iface{kind: "vlan", vlan: 5}, iface{kind: "vxlan", parent: 1}), map[int]uint32{1: 5}},
		{"id 0 names no VLAN", hostOf(wire, iface{kind: "vlan", parent: 1}), map[int]uint32{}},
		{
			"a VRF and what is in it",
			hostOf(iface{kind: "vrf", table: 10}, iface{master: 1}, iface{kind: "bridge", master: 1}, iface{master: 3}, wire),
			map[int]uint32{1: vrf | 10, 2: vrf | 10, 3: vrf | 10, 4: vrf | 10},
		},
		{
			"a VLAN device in a VRF has its id",
			hostOf(iface{kind: "vrf", table: 10}, wire, iface{kind: "vlan", parent: 2, vlan: 5, master: 1}),
			map[int]uint32{1: vrf | 10, 3: 5},
		},
		{
			"tables beyond 4095, one of which wraps around to another's",
			hostOf(iface{kind: "vrf", table: 4095 + 10}, iface{kind: "vrf", table: 10}, iface{kind: "vrf", table: 4095}),
			map[int]uint32{1: vrf | 11, 2: vrf | 10, 3: vrf | 4095},
		},
		{
			"VRFs that share a table are one network",
			hostOf(iface{kind: "vrf", table: 10}, iface{kind: "vrf", table: 10}),
			map[int]uint32{1: vrf | 10, 2: vrf | 10},
		},
		{"bridges that are each other's master, which the kernel does not let be", hostOf(iface{master: 2}, iface{master: 1}), map[int]uint32{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.host.zones(); !maps.Equal(got, test.want) {
				t.Errorf("%x, want %x", got, test.want)
			}
		})
	}
}

// TestManyVRFs: more than have numbers. Nothing goes astray, some share one.
func TestManyVRFs(t *testing.T) {
	p := newPaths(true)
	for n := range 5000 {
		p.set(iface{index: n + 1, kind: "vrf", table: uint32(n) * 7})
	}
	numbers := map[uint32]bool{}
	for _, number := range p.vrfNumbers() {
		if number == 0 || number > maxVRFs {
			t.Fatalf("a VRF has number %d", number)
		}
		numbers[number] = true
	}
	if len(numbers) != maxVRFs {
		t.Errorf("%d numbers are used", len(numbers))
	}
}

func TestVLANDevices(t *testing.T) {
	p := hostOf(iface{name: "eth0"}, iface{kind: "vlan", parent: 1, vlan: 5}, iface{kind: "vlan", parent: 2, vlan: 6})
	want := map[bpf.ConnectionsVlanKey]uint32{
		{Ifindex: 1, Zone: 5}: 2, {Ifindex: 1, Zone: 6<<12 | 5}: 3, {Ifindex: 2, Zone: 6<<12 | 5}: 3,
	}
	if got := p.vlanDevices(p.zones()); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
