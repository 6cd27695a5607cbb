package datapath

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
)

// watch is the hooks of a watched interface.
type watch struct {
	name  string
	life  uint64          // of its interface
	hooks map[string]hook // by "ingress", "egress", XDP.hook()

	lacksXDP   string // why; "" where it has the program, or it is not wanted
	refusedXDP XDP    // mode that the kernel refused, which it is not asked for again
}

// hook is a program's place at one side of an interface: a tcx link (tcx.go), or
// a filter where the kernel has none (clsact.go); or an XDP link (xdp.go).
type hook interface {
	// keep lets it outlive the process; release takes that back.
	keep(path string) error
	release()
	// isLost says whether the kernel has taken it away: with the interface, or at
	// somebody else's request.
	isLost() bool
	// close ends it, unless it is kept.
	close() error
}

// side is where an interface's packets are seen.
type side struct {
	name   string
	tcx    ebpf.AttachType
	clsact uint32 // parent of its filters
}

var (
	ingressSide = side{"ingress", ebpf.AttachTCXIngress, netlink.HANDLE_MIN_INGRESS}
	egressSide  = side{"egress", ebpf.AttachTCXEgress, netlink.HANDLE_MIN_EGRESS}
)

// attachTo watches an interface. Hooks that an earlier instance left are given
// the new programs in one step, without a gap.
func (d *Datapath) attachTo(i *iface, zone uint32) error {
	ingress, egress, err := d.programsFor(i)
	if err != nil {
		return err
	}
	if err := d.noteInterface(i.index, interfaceFlags(i)|zone); err != nil {
		return fmt.Errorf("note interface %s: %w", i.name, err)
	}
	w := &watch{name: i.name, life: i.life, hooks: map[string]hook{}}
	for _, h := range []struct {
		side    side
		program *ebpf.Program
	}{{ingressSide, ingress}, {egressSide, egress}} {
		made, err := d.hook(i.index, h.side, h.program)
		if err != nil {
			w.release()
			return errors.Join(fmt.Errorf("attach to %s %s: %w", i.name, h.side.name, err), w.close(),
				d.noteInterface(i.index, 0))
		}
		w.hooks[h.side.name] = made
	}
	d.attached[i.index] = w
	return nil
}

func (d *Datapath) hook(index int, s side, program *ebpf.Program) (hook, error) {
	_, err := os.Stat(d.pins.mapPath("flows"))
	kept := err == nil
	path := d.pins.linkPath(index, s.name)
	if d.clsact {
		return d.attachFilter(index, s, program, path, kept)
	}
	return d.attachTCX(index, s, program, path, kept)
}

// programsFor picks the programs by whether packets start with an Ethernet
// header.
func (d *Datapath) programsFor(i *iface) (ingress, egress *ebpf.Program, err error) {
	switch i.encap {
	case "ether", "loopback":
		return d.objects.Ingress, d.objects.Egress, nil
	case "none", "ppp", "tunnel", "tunnel6", "sit", "gre", "ip6gre", "ipip", "rawip":
		err := d.loadBare()
		return d.objects.IngressL3, d.objects.EgressL3, err
	}
	return nil, nil, fmt.Errorf("interface %s has link type %s; accepted are Ethernet and those that carry bare IP", i.name, i.encap)
}

// detachFrom ends the watch of an interface.
func (d *Datapath) detachFrom(index int) {
	w := d.attached[index]
	w.release()
	if err := w.close(); err != nil {
		d.log.Warn("An interface could not be left.", zap.String("interface", w.name), zap.Error(err))
	}
	delete(d.attached, index)
}

func (w *watch) keep(p pins, index int) error {
	for name, h := range w.hooks {
		if err := h.keep(p.linkPath(index, name)); err != nil {
			return fmt.Errorf("pin link %s of %s: %w", name, w.name, err)
		}
	}
	return nil
}

func (w *watch) release() {
	for _, h := range w.hooks {
		h.release()
	}
}

func (w *watch) isLost() bool {
	for _, h := range w.hooks {
		if h.isLost() {
			return true
		}
	}
	return false
}

func (w *watch) close() error {
	var errs []error
	for _, h := range w.hooks {
		errs = append(errs, h.close())
	}
	return errors.Join(errs...)
}
