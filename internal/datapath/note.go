package datapath

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
)

// noted is what the programs know of interfaces, so that only what changes is
// written.
type noted struct {
	flags map[int]uint32
	vlans map[bpf.ConnectionsVlanKey]uint32
}

// note tells the programs of the interfaces: those that are watched, and those
// whose packets all come in by watched ones.
func (d *Datapath) note(zones map[int]uint32) error {
	wanted := map[int]uint32{}
	parts := map[int][]*iface{} // of VRFs
	for index, i := range d.paths.interfaces {
		if d.isJudged(i) {
			wanted[index] = interfaceFlags(i) | zones[index]
		}
		if master := d.paths.interfaces[i.master]; master != nil && master.kind == "vrf" {
			parts[i.master] = append(parts[i.master], i)
		}
	}
	// What came in by one of a VRF's interfaces leaves by another as if it had come
	// in by the VRF.
	for index, all := range parts {
		wanted[index] = interfaceFlags(d.paths.interfaces[index]) | zones[index]
		if slices.ContainsFunc(all, func(i *iface) bool { return !d.isJudged(i) }) {
			wanted[index] &^= uint32(bpf.ConnectionsInterfaceFlagsINTERFACE_WATCHED)
		}
	}
	for index := range d.noted.flags {
		if wanted[index] == 0 {
			if err := d.noteInterface(index, 0); err != nil {
				return fmt.Errorf("forget interface %d: %w", index, err)
			}
		}
	}
	for index, flags := range wanted {
		if err := d.noteInterface(index, flags); err != nil {
			return fmt.Errorf("note interface %s: %w", d.paths.interfaces[index].name, err)
		}
	}
	if err := d.noteVLANs(d.paths.vlanDevices(zones)); err != nil {
		return fmt.Errorf("note VLAN devices: %w", err)
	}
	return nil
}

// isJudged says whether what comes in by an interface is judged, there or beneath.
func (d *Datapath) isJudged(i *iface) bool {
	if d.attached[i.index] != nil {
		return true
	}
	beneath := d.paths.beneath(i)
	return i.kind == "vlan" && beneath != nil && d.isJudged(beneath)
}

// interfaceFlags is what the programs are to know of an interface, but for its
// zone.
func interfaceFlags(i *iface) uint32 {
	flags := uint32(bpf.ConnectionsInterfaceFlagsINTERFACE_WATCHED)
	if i.loopback {
		flags |= uint32(bpf.ConnectionsInterfaceFlagsINTERFACE_LOOPBACK)
	}
	if i.kind == "bridge" {
		flags |= uint32(bpf.ConnectionsInterfaceFlagsINTERFACE_BRIDGE)
	}
	return flags
}

// noteInterface tells the programs of an interface; 0 flags make them forget it.
func (d *Datapath) noteInterface(index int, flags uint32) error {
	if known, ok := d.noted.flags[index]; ok && known == flags {
		return nil
	}
	if err := d.putInterface(index, flags); err != nil {
		return err
	}
	d.noted.flags[index] = flags
	if flags == 0 {
		delete(d.noted.flags, index)
	}
	return nil
}

func (d *Datapath) putInterface(index int, flags uint32) error {
	if index < int(d.objects.LowInterfaces.MaxEntries()) {
		return d.objects.LowInterfaces.Put(uint32(index), flags)
	}
	if flags != 0 {
		return d.objects.HighInterfaces.Put(uint32(index), flags)
	}
	return ignoreAbsent(d.objects.HighInterfaces.Delete(uint32(index)))
}

func (d *Datapath) noteVLANs(wanted map[bpf.ConnectionsVlanKey]uint32) error {
	for key := range d.noted.vlans {
		if _, ok := wanted[key]; !ok {
			if err := ignoreAbsent(d.objects.VlanDevices.Delete(key)); err != nil {
				return err
			}
			delete(d.noted.vlans, key)
		}
	}
	for key, device := range wanted {
		if d.noted.vlans[key] == device {
			continue
		}
		if err := d.objects.VlanDevices.Put(key, device); err != nil {
			return err
		}
		d.noted.vlans[key] = device
	}
	return nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

// forgetStale makes the programs forget what an earlier instance told them and
// this one did not.
func (d *Datapath) forgetStale() error {
	indexes, err := batch[uint32, uint32](d.objects.LowInterfaces)
	if err != nil {
		return fmt.Errorf("list the interfaces that the programs know: %w", err)
	}
	high, err := batch[uint32, uint32](d.objects.HighInterfaces)
	if err != nil {
		return fmt.Errorf("list the interfaces that the programs know: %w", err)
	}
	for index, flags := range high {
		indexes[index] = flags
	}
	for index, flags := range indexes {
		if flags == 0 || d.noted.flags[int(index)] != 0 {
			continue
		}
		if err := d.putInterface(int(index), 0); err != nil {
			return fmt.Errorf("forget interface %d: %w", index, err)
		}
	}
	vlans, err := batch[bpf.ConnectionsVlanKey, uint32](d.objects.VlanDevices)
	if err != nil {
		return fmt.Errorf("list the VLAN devices that the programs know: %w", err)
	}
	for key := range vlans {
		if _, ok := d.noted.vlans[key]; ok {
			continue
		}
		if err := ignoreAbsent(d.objects.VlanDevices.Delete(key)); err != nil {
			return fmt.Errorf("forget a VLAN device: %w", err)
		}
	}
	return nil
}

// batch reads all entries of a map that are not zero.
func batch[K, V comparable](m *ebpf.Map) (map[K]V, error) {
	keys, values := make([]K, m.MaxEntries()), make([]V, m.MaxEntries())
	var cursor ebpf.MapBatchCursor
	n, err := m.BatchLookup(&cursor, keys, values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) { // the latter: that was all
		return nil, err
	}
	var zero V
	entries := map[K]V{}
	for i := range n {
		if values[i] != zero {
			entries[keys[i]] = values[i]
		}
	}
	return entries, nil
}
