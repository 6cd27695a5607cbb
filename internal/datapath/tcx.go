package datapath

import (
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// linkHook is a link to a tcx hook (Linux 6.6) or an XDP hook. It is referenced as
// long as it is wanted: the runtime closes, and so detaches, a link that is not.
type linkHook struct{ link link.Link }

// chooseHooks finds out whether the kernel has tcx, by trying: with an interface
// that no namespace has, so that nothing is attached to.
func (d *Datapath) chooseHooks() {
	if d.clsact || len(missingCapabilities()) > 0 {
		return
	}
	_, err := link.AttachTCX(link.TCXOptions{Interface: 0, Program: d.objects.Ingress, Attach: ebpf.AttachTCXIngress})
	if !errors.Is(err, ebpf.ErrNotSupported) {
		return // what else is wrong, the first interface says
	}
	d.clsact = true
	d.ending = make(chan os.Signal, 1)
	signal.Notify(d.ending, unix.SIGTERM, unix.SIGINT)
	d.log.Info("This kernel has no tcx hooks (Linux 6.6 has): clsact filters are used. Whoever removes an interface's clsact qdisc, " +
		"or its filters, ends the watch of it for up to 30 s.")
}

// attachTCX attaches at the head of the chain, or gives the link that an earlier
// instance pinned the program.
func (d *Datapath) attachTCX(index int, s side, program *ebpf.Program, path string, kept bool) (hook, error) {
	if l := d.switched[path]; l != nil {
		delete(d.switched, path)
		return linkHook{l}, nil
	}
	old, err := d.openLink(path, index)
	if err != nil {
		return nil, err
	}
	if old != nil {
		if err := old.Update(program); err == nil {
			return linkHook{old}, nil
		}
		if err := errors.Join(old.Unpin(), old.Close()); err != nil {
			return nil, fmt.Errorf("give up a stale link: %w", err)
		}
	}
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: index, Program: program, Attach: s.tcx, Anchor: link.Head(),
	})
	if err != nil {
		return nil, needsPrivilege("attach", err)
	}
	if kept {
		if err := l.Pin(path); err != nil {
			return nil, errors.Join(fmt.Errorf("pin link: %w", err), l.Close())
		}
	}
	return linkHook{l}, nil
}

func (h linkHook) keep(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil // taken over
	}
	return h.link.Pin(path)
}

// release fails only where the file is gone already.
func (h linkHook) release() { h.link.Unpin() }

func (h linkHook) isLost() bool {
	info, err := h.link.Info()
	if err != nil {
		return false // not known
	}
	index, ok := linkedTo(info)
	return ok && index == 0
}

func (h linkHook) close() error { return h.link.Close() }

// linkedTo is the index of the interface that a tcx or XDP link is attached to, 0
// once that is gone; ok is false for links of other types.
func linkedTo(info *link.Info) (index int, ok bool) {
	if tcx := info.TCX(); tcx != nil {
		return int(tcx.Ifindex), true
	}
	if xdp := info.XDP(); xdp != nil {
		return int(xdp.Ifindex), true
	}
	return 0, false
}
