package datapath

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"go.uber.org/zap"

	"github.com/weirnet/weir/bpf"
)

// XDP says where packets of connections that are blocked are dropped before the
// kernel has made an skb of them (bpf/xdp.c). What it lets pass, the hooks judge as
// they do without it.
type XDP uint8

// XDPNative is in the interface's driver, XDPGeneric in the kernel's own code before
// the hooks, which every driver has and which saves little.
const (
	XDPOff XDP = iota
	XDPNative
	XDPGeneric
)

// hook is the hook's name, also in the name of its pin: an XDP link cannot change
// its mode.
func (x XDP) hook() string {
	if x == XDPGeneric {
		return "xdp_generic"
	}
	return "xdp_native"
}

func isXDP(hook string) bool { return strings.HasPrefix(hook, "xdp_") }

// xdp is the program, once an interface wanted it.
type xdp struct {
	program *ebpf.Program
	mode    XDP
}

// settleXDP attaches the program to a watched interface, or takes it away, as is
// wanted now. Where it cannot be had the interface is watched without.
func (d *Datapath) settleXDP(w *watch, i *iface) {
	mode := d.config.XDP
	why := ""
	if mode != XDPOff {
		if why = d.withoutXDP(i); why != "" {
			mode = XDPOff
		}
	}
	err := d.leaveXDP(w, i.index, mode)
	if err == nil && mode != XDPOff && w.hooks[mode.hook()] == nil && mode != w.refusedXDP {
		var h hook
		if h, err = d.attachXDP(i.index, mode); err == nil {
			w.hooks[mode.hook()] = h
			d.log.Info("Packets of blocked connections are dropped early.", zap.String("interface", i.name), zap.String("hook", mode.hook()))
		}
	}
	if err != nil {
		why = err.Error()
		w.refusedXDP = mode // a driver does, or another's program stands in the way
	}
	if why != "" && why != w.lacksXDP {
		d.log.Warn("An interface is watched without XDP; what is blocked is dropped by the hooks that come after it.",
			zap.String("interface", i.name), zap.String("reason", why))
	}
	w.lacksXDP = why
}

// withoutXDP says why an interface is to have no XDP program; "" where it may have
// one.
func (d *Datapath) withoutXDP(i *iface) string {
	switch {
	case i.encap != "ether":
		return "it is no Ethernet interface"
	case i.kind == "bridge" || d.paths.beneath(i) != nil:
		return "its packets come by another interface, which may have XDP"
	case d.isTagged(i) && hidesTags(i.name):
		return "it takes VLAN tags off before XDP sees the packets, and equal tuples of two VLANs would be one; ethtool -K " +
			i.name + " rxvlan off changes that"
	}
	return ""
}

// isTagged says whether anybody here may want tagged packets that come in by the
// interface: a device upon it, or what it is a part of.
func (d *Datapath) isTagged(i *iface) bool {
	if master := d.paths.interfaces[i.master]; i.master != 0 && (master == nil || master.kind != "vrf") {
		return true
	}
	for _, other := range d.paths.interfaces {
		if other.parent == i.index && d.paths.beneath(other) == i {
			return true
		}
	}
	return false
}

// attachXDP attaches the program, or gives it to the link that an earlier instance
// pinned.
func (d *Datapath) attachXDP(index int, mode XDP) (hook, error) {
	if err := d.loadXDP(mode); err != nil {
		return nil, err
	}
	_, err := os.Stat(d.pins.mapPath("flows"))
	kept, path := err == nil, d.pins.linkPath(index, mode.hook())
	old, err := d.openLink(path, index)
	if err != nil {
		return nil, err
	}
	if old != nil {
		if err := old.Update(d.xdp.program); err == nil {
			return linkHook{old}, nil
		}
		if err := errors.Join(old.Close(), detachPinned(path)); err != nil {
			return nil, fmt.Errorf("give up a stale link: %w", err)
		}
	}
	flags := link.XDPDriverMode
	if mode == XDPGeneric {
		flags = link.XDPGenericMode
	}
	l, err := link.AttachXDP(link.XDPOptions{Interface: index, Program: d.xdp.program, Flags: flags})
	if err != nil {
		return nil, needsPrivilege("attach XDP", err)
	}
	if kept {
		if err := l.Pin(path); err != nil {
			return nil, errors.Join(fmt.Errorf("pin link: %w", err), l.Close())
		}
	}
	return linkHook{l}, nil
}

// leaveXDP takes the program away from an interface, also that of an earlier
// instance, but for that of the mode.
func (d *Datapath) leaveXDP(w *watch, index int, mode XDP) error {
	var errs []error
	for _, other := range []XDP{XDPNative, XDPGeneric} {
		if other == mode {
			continue
		}
		// Emptied at once: what only lets go of a pinned link waits for the kernel to.
		if d.mapsPinned {
			errs = append(errs, detachPinned(d.pins.linkPath(index, other.hook())))
		}
		if h := w.hooks[other.hook()]; h != nil {
			errs = append(errs, h.close())
			delete(w.hooks, other.hook())
			d.log.Info("Packets are no longer dropped early.", zap.String("interface", w.name))
		}
	}
	return errors.Join(errs...)
}

// detachXDP empties the XDP hooks that an earlier instance left: its program would
// count in maps that nobody reads any more.
func (p pins) detachXDP() error {
	names, err := p.entries()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := linkIndex(name); !ok || !isXDP(hookName(name)) {
			continue
		}
		if err := detachPinned(p.link(name)); err != nil {
			return err
		}
	}
	return nil
}

// loadXDP loads the program for a mode, on the maps of the others.
func (d *Datapath) loadXDP(mode XDP) error {
	if d.xdp.program != nil && d.xdp.mode == mode {
		return nil
	}
	spec, err := loadXDP()
	if err != nil {
		return fmt.Errorf("read the compiled XDP program: %w", err)
	}
	if mode == XDPGeneric {
		// A packet that such a program may be given in several buffers the kernel copies
		// first; what then passes is cut short (seen on 6.18).
		spec.Programs["drop_early"].Flags = 0
		if err := spec.Variables["superpackets"].Set(uint32(1)); err != nil {
			return fmt.Errorf("tell the XDP program its mode: %w", err)
		}
	}
	shared := d.sharedMaps(spec)
	var loaded bpf.XDPPrograms
	err = spec.LoadAndAssign(&loaded, &ebpf.CollectionOptions{MapReplacements: shared})
	if err != nil { // Linux 5.17 has no frames of several buffers
		spec.Programs["drop_early"].Flags = 0
		if spec.LoadAndAssign(&loaded, &ebpf.CollectionOptions{MapReplacements: shared}) != nil {
			return explainLoad(err)
		}
	}
	if d.xdp.program != nil {
		d.xdp.program.Close() // links keep the other one as long as they need it
	}
	d.xdp = xdp{loaded.DropEarly, mode}
	return nil
}
