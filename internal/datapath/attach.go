package datapath

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"go.uber.org/zap"
)

// watch is the two links of a watched interface. They are referenced as long as
// they are wanted: the runtime closes, and so detaches, a link that is not.
type watch struct {
	name  string
	life  uint64               // of its interface
	hooks map[string]link.Link // by "ingress", "egress"
}

// attachTo watches an interface. Links that an earlier instance left are given
// the new programs in one step, without a gap.
func (d *Datapath) attachTo(i *iface, zone uint32) error {
	ingress, egress, err := d.programsFor(i)
	if err != nil {
		return err
	}
	if err := d.noteInterface(i.index, interfaceFlags(i)|zone); err != nil {
		return fmt.Errorf("note interface %s: %w", i.name, err)
	}
	w := &watch{name: i.name, life: i.life, hooks: map[string]link.Link{}}
	for _, h := range []struct {
		name    string
		program *ebpf.Program
		at      ebpf.AttachType
	}{{"ingress", ingress, ebpf.AttachTCXIngress}, {"egress", egress, ebpf.AttachTCXEgress}} {
		w.hooks[h.name], err = d.hook(i.index, h.name, h.program, h.at)
		if err != nil {
			w.unpin()
			return errors.Join(fmt.Errorf("attach to %s %s: %w", i.name, h.name, err), w.close(),
				d.noteInterface(i.index, 0))
		}
	}
	d.attached[i.index] = w
	return nil
}

func (d *Datapath) hook(index int, name string, program *ebpf.Program, at ebpf.AttachType) (link.Link, error) {
	path := d.pins.linkPath(index, name)
	if kept, err := link.LoadPinnedLink(path, nil); err == nil {
		if err := kept.Update(program); err == nil {
			return kept, nil
		}
		// The interface it was made for is gone, and its index used again.
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

// programsFor picks the programs by whether packets start with an Ethernet
// header.
func (d *Datapath) programsFor(i *iface) (ingress, egress *ebpf.Program, err error) {
	switch i.encap {
	case "ether", "loopback":
		return d.objects.Ingress, d.objects.Egress, nil
	case "none", "ppp", "tunnel", "tunnel6", "sit", "gre", "ip6gre", "ipip", "rawip":
		return d.objects.IngressL3, d.objects.EgressL3, nil
	}
	return nil, nil, fmt.Errorf("interface %s has link type %s; accepted are Ethernet and those that carry bare IP", i.name, i.encap)
}

// detachFrom ends the watch of an interface.
func (d *Datapath) detachFrom(index int) {
	w := d.attached[index]
	w.unpin()
	if err := w.close(); err != nil {
		d.log.Warn("An interface could not be left.", zap.String("interface", w.name), zap.Error(err))
	}
	delete(d.attached, index)
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
		if l == nil {
			continue // it could not be attached
		}
		l.Unpin() // fails only where the file is gone already
	}
}

// isLost says whether the kernel has taken a hook away: with the interface, or at
// somebody else's request.
func (w *watch) isLost() bool {
	for _, l := range w.hooks {
		info, err := l.Info()
		if err != nil {
			return false // not known
		}
		if tcx := info.TCX(); tcx != nil && tcx.Ifindex == 0 {
			return true
		}
	}
	return false
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
