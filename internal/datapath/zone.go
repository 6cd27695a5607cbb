package datapath

import (
	"maps"
	"slices"

	"github.com/weirnet/weir/bpf"
)

// A zone is 24 bits (bpf/flow.h): VLAN ids, the outer one low; or a VRF's number
// under an inner id that no VLAN has.
const (
	vlanID = 0xfff
	vrfs   = 0xfff << 12
	// maxVRFs have numbers of their own, from 1 on.
	maxVRFs = 0xfff
)

// addTag is add_tag of bpf/network.h: the zone of a packet with one more tag.
func addTag(zone, id uint32) uint32 {
	switch {
	case id == 0:
		return zone
	case zone == 0 || zone&vrfs == vrfs:
		return id
	}
	return zone&vlanID | id<<12
}

// zones are those of all interfaces, by index. Interfaces in none, which is what
// most are, are left out.
func (p *paths) zones() map[int]uint32 {
	numbers := p.vrfNumbers()
	all := map[int]uint32{}
	for index, i := range p.interfaces {
		zone := p.vlans(i)
		if vrf := p.vrfOf(i); zone == 0 && vrf != nil {
			zone = vrfs | numbers[vrf.table]
		}
		if zone != 0 {
			all[index] = zone
		}
	}
	return all
}

// vlans are the ids of the tags that are taken off a packet until it is i's. An
// interface beneath that is watched too sees them, and makes the same key.
func (p *paths) vlans(i *iface) uint32 {
	zone := uint32(0)
	if beneath := p.beneath(i); beneath != nil {
		zone = p.vlans(beneath)
	}
	if i.kind == "vlan" {
		zone = addTag(zone, i.vlan)
	}
	return zone
}

// beneath is the interface whose packets i's are; nil where there is none here.
func (p *paths) beneath(i *iface) *iface {
	switch i.kind {
	case "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap":
		return p.interfaces[i.parent]
	}
	return nil
}

// vrfOf is the VRF that an interface is, or is in by itself or as a part of a
// bridge or bond; nil: none.
func (p *paths) vrfOf(i *iface) *iface {
	for range 8 { // as deep as the kernel lets them be nested (MAX_NEST_DEV)
		if i == nil || i.kind == "vrf" {
			return i
		}
		i = p.interfaces[i.master]
	}
	return nil
}

// vrfNumbers numbers the VRFs by routing table: it stays what it is when Weir or
// the host starts again, unlike an interface's index. VRFs that share a table are
// one network. A table's number is its own up to 4095, as most people choose it;
// beyond it wraps around, and where that number is taken the next free one is
// given, lower tables first. Such a number may change when a VRF is added or
// removed, and the VRF's open connections then begin anew. Of more than 4095
// VRFs some share a number, and their equal tuples are not told apart.
func (p *paths) vrfNumbers() map[uint32]uint32 {
	tables := map[uint32]bool{}
	for _, i := range p.interfaces {
		if i.kind == "vrf" {
			tables[i.table] = true
		}
	}
	numbers, taken := map[uint32]uint32{}, map[uint32]bool{}
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		number := (table-1)%maxVRFs + 1 // the kernel refuses table 0
		for n := 0; taken[number] && n < maxVRFs; n++ {
			number = number%maxVRFs + 1
		}
		numbers[table], taken[number] = number, true
	}
	return numbers
}

// vlanDevices are the VLAN devices that packets of a zone reach from the interfaces
// beneath them.
func (p *paths) vlanDevices(zones map[int]uint32) map[bpf.ConnectionsVlanKey]uint32 {
	devices := map[bpf.ConnectionsVlanKey]uint32{}
	for index, i := range p.interfaces {
		if i.kind != "vlan" {
			continue
		}
		for lower := p.beneath(i); lower != nil; lower = p.beneath(lower) {
			devices[bpf.ConnectionsVlanKey{Ifindex: uint32(lower.index), Zone: zones[index]}] = uint32(index)
		}
	}
	return devices
}
