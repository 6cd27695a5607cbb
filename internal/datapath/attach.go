package datapath

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"

	"github.com/weirnet/weir/bpf"
)

// watch is the two links of a watched interface. They are referenced as long as
// they are wanted: the runtime closes, and so detaches, a link that is not.
type watch struct {
	name  string
	hooks map[string]link.Link // by "ingress", "egress"
}

// attachTo watches an interface. Links that an earlier instance left are given
// the new programs in one step, without a gap.
func (d *Datapath) attachTo(l netlink.Link) error {
	attrs := l.Attrs()
	ingress, egress, err := d.programsFor(attrs)
	if err != nil {
		return err
	}
	if err := d.noteInterface(attrs.Index, interfaceFlags(l)); err != nil {
		return fmt.Errorf("note interface %s: %w", attrs.Name, err)
	}
	w := &watch{name: attrs.Name, hooks: map[string]link.Link{}}
	for _, h := range []struct {
		name    string
		program *ebpf.Program
		at      ebpf.AttachType
	}{{"ingress", ingress, ebpf.AttachTCXIngress}, {"egress", egress, ebpf.AttachTCXEgress}} {
		w.hooks[h.name], err = d.hook(attrs.Index, h.name, h.program, h.at)
		if err != nil {
			return errors.Join(fmt.Errorf("attach to %s %s: %w", attrs.Name, h.name, err), w.close(),
				d.noteInterface(attrs.Index, 0))
		}
	}
	d.attached[attrs.Index] = w
	return nil
}

func (d *Datapath) hook(index int, name string, program *ebpf.Program, at ebpf.AttachType) (link.Link, error) {
	path := d.pins.linkPath(index, name)
	if l := d.switched[path]; l != nil {
		delete(d.switched, path)
		return l, nil
	}
	kept, err := d.openLink(path, index)
	if err != nil {
		return nil, err
	}
	if kept != nil {
		if err := kept.Update(program); err == nil {
			return kept, nil
		}
		if err := errors.Join(kept.Unpin(), kept.Close()); err != nil {
			return nil, fmt.Errorf("give up a stale link: %w", err)
		}
	}
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: index, Program: program, Attach: at, Anchor: link.Head(),
	})
	if errors.Is(err, ebpf.ErrNotSupported) {
		return nil, fmt.Errorf("this kernel has no tcx hooks; Linux 6.6 or newer has: %w", err)
	}
	if err != nil {
		return nil, needsPrivilege("attach", err)
	}
	if _, err := os.Stat(d.pins.mapPath("flows")); err == nil {
		if err := l.Pin(path); err != nil {
			return nil, errors.Join(fmt.Errorf("pin link: %w", err), l.Close())
		}
	}
	return l, nil
}

// interfaceFlags is what the programs are to know of an interface.
func interfaceFlags(l netlink.Link) uint32 {
	flags := uint32(bpf.ConnectionsInterfaceFlagsINTERFACE_WATCHED)
	if isLoopback(l.Attrs()) {
		flags |= uint32(bpf.ConnectionsInterfaceFlagsINTERFACE_LOOPBACK)
	}
	if l.Type() == "bridge" {
		flags |= uint32(bpf.ConnectionsInterfaceFlagsINTERFACE_BRIDGE)
	}
	// Packets of a VLAN interface have lost their tag.
	if vlan, ok := l.(*netlink.Vlan); ok {
		flags |= uint32(vlan.VlanId)
	}
	return flags
}

// noteInterface tells the programs of an interface; 0 flags make them forget it.
func (d *Datapath) noteInterface(index int, flags uint32) error {
	if index < int(d.objects.LowInterfaces.MaxEntries()) {
		return d.objects.LowInterfaces.Put(uint32(index), flags)
	}
	if flags != 0 {
		return d.objects.HighInterfaces.Put(uint32(index), flags)
	}
	if err := d.objects.HighInterfaces.Delete(uint32(index)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// notedInterfaces are the indexes that the programs know.
func (d *Datapath) notedInterfaces() ([]int, error) {
	var noted []int
	for _, m := range []*ebpf.Map{d.objects.LowInterfaces, d.objects.HighInterfaces} {
		indexes, flags := make([]uint32, m.MaxEntries()), make([]uint32, m.MaxEntries())
		var cursor ebpf.MapBatchCursor
		n, err := m.BatchLookup(&cursor, indexes, flags, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) { // the latter: that was all
			return nil, fmt.Errorf("list the interfaces that the programs know: %w", err)
		}
		for i := range n {
			if flags[i] != 0 {
				noted = append(noted, int(indexes[i]))
			}
		}
	}
	return noted, nil
}

// programsFor picks the programs by whether packets start with an Ethernet
// header.
func (d *Datapath) programsFor(attrs *netlink.LinkAttrs) (ingress, egress *ebpf.Program, err error) {
	switch attrs.EncapType {
	case "ether", "loopback":
		return d.objects.Ingress, d.objects.Egress, nil
	case "none", "ppp", "tunnel", "tunnel6", "sit", "gre", "ip6gre", "ipip", "rawip":
		return d.objects.IngressL3, d.objects.EgressL3, nil
	}
	return nil, nil, fmt.Errorf("interface %s has link type %s; accepted are Ethernet and those that carry bare IP", attrs.Name, attrs.EncapType)
}

// detachFrom ends the watch of an interface.
func (d *Datapath) detachFrom(index int) {
	w := d.attached[index]
	w.unpin()
	if err := w.close(); err != nil {
		d.log.Warn("An interface could not be left.", zap.String("interface", w.name), zap.Error(err))
	}
	delete(d.attached, index)
	if err := d.noteInterface(index, 0); err != nil {
		d.log.Warn("An interface could not be forgotten.", zap.String("interface", w.name), zap.Error(err))
	}
}

func (w *watch) pin(p pins, index int) error {
	for name, l := range w.hooks {
		path := p.linkPath(index, name)
		if _, err := os.Stat(path); err == nil {
			continue // taken over
		}
		if err := l.Pin(path); err != nil {
			return fmt.Errorf("pin link %s of %s: %w", name, w.name, err)
		}
	}
	return nil
}

func (w *watch) unpin() {
	for _, l := range w.hooks {
		l.Unpin() // fails only where the file is gone already
	}
}

func (w *watch) close() error {
	var errs []error
	for _, l := range w.hooks {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}
