package datapath

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Before Linux 6.6 there is no tcx. A clsact qdisc has the same two places, and a
// bpf filter in one, in direct-action mode, means by -1 what tcx means by it: the
// next filter decides.
//
// A filter belongs to the interface: it would stay when its process is killed,
// also where nothing is to stay. So the filter is a stub that goes on to the
// program by way of an array of one, and the kernel empties such an array when no
// process has it open and it is not pinned. A stub without a program lets pass.

// What tells Weir's filters from others', in `tc filter show`: their name, which
// also says that the qdisc was made for them.
const (
	filterName     = "weir "
	filterOwnQdisc = " own-qdisc"
	filterHandle   = 0x77656972 // "weir"
)

// filterHook is a filter of a clsact qdisc, and the array of one program that it
// goes on to, which is pinned where a link would be.
type filterHook struct {
	filter *netlink.BpfFilter
	array  *ebpf.Map
}

// attachFilter puts the program before the filters of others, or gives it to the
// filter that an earlier instance left. The kernel does either in one step.
func (d *Datapath) attachFilter(index int, s side, program *ebpf.Program, path string, kept bool) (hook, error) {
	array, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		array, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	}
	if err != nil {
		return nil, needsPrivilege("make the array of a filter's program", err)
	}
	if err := array.Put(uint32(0), program); err != nil {
		return nil, errors.Join(fmt.Errorf("give a filter its program: %w", err), array.Close())
	}
	filter, err := d.putFilter(index, s, array)
	if err != nil {
		return nil, errors.Join(err, array.Close())
	}
	h := &filterHook{filter: filter, array: array}
	if kept {
		if err := h.keep(path); err != nil {
			return nil, errors.Join(fmt.Errorf("pin the array of a filter's program: %w", err), h.close())
		}
	}
	return h, nil
}

// stub goes on to the array's program, and lets pass where it has none.
func stub(array *ebpf.Map) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "weir_stub", Type: ebpf.SchedCLS, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{
			asm.LoadMapPtr(asm.R2, array.FD()),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnTailCall.Call(),
			asm.Mov.Imm(asm.R0, -1),
			asm.Return(),
		},
	})
}

func (d *Datapath) putFilter(index int, s side, array *ebpf.Map) (*netlink.BpfFilter, error) {
	made, err := makeQdisc(index)
	if err != nil {
		return nil, needsPrivilege("make the clsact qdisc", err)
	}
	all, err := filtersOf(index, s)
	if err != nil {
		return nil, err
	}
	other, err := filtersOf(index, s.opposite())
	if err != nil {
		return nil, err
	}
	p, err := stub(array)
	if err != nil {
		return nil, needsPrivilege("load a filter's program", err)
	}
	defer p.Close() // the filter keeps it
	f := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index, Parent: s.clsact, Handle: filterHandle, Protocol: unix.ETH_P_ALL,
			Priority: headOf(all),
		},
		Name: filterName + s.name, Fd: p.FD(), DirectAction: true,
	}
	put := netlink.FilterAdd
	if old := ownFilter(all); old != nil {
		put = netlink.FilterReplace
		f.Priority, f.Handle = old.Priority, old.Handle
	}
	if f.Priority > 1 {
		d.log.Warn("Another's filter, of another kind, has the first place: Weir sees what it passes on.",
			zap.Int("index", index), zap.String("hook", s.name), zap.Uint16("preference", f.Priority))
	}
	if made || ownsQdisc(ownFilter(all)) || ownsQdisc(ownFilter(other)) {
		f.Name += filterOwnQdisc
	}
	if err := put(f); err != nil {
		return nil, needsPrivilege("attach a bpf filter (kernel module cls_bpf)", err)
	}
	return f, nil
}

// makeQdisc makes the interface's clsact qdisc, and says whether it was missing.
func makeQdisc(index int) (made bool, err error) {
	attrs := netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}
	err = netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: attrs})
	if !errors.Is(err, unix.EEXIST) {
		return err == nil, explainQdisc(err)
	}
	// The qdisc `ingress` has the same place. It takes filters for egress, too, and
	// runs them at ingress.
	all, err := netlink.QdiscList(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: index}})
	if err != nil {
		return false, fmt.Errorf("list qdiscs: %w", err)
	}
	for _, q := range all {
		if q.Attrs().Parent == netlink.HANDLE_CLSACT && q.Type() != "clsact" {
			return false, fmt.Errorf("the interface has a qdisc %s, where without tcx (Linux 6.6) clsact is needed: "+
				"remove it (tc qdisc del dev … %s)", q.Type(), q.Type())
		}
	}
	return false, nil
}

func explainQdisc(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("this kernel has neither tcx (Linux 6.6) nor the module sch_ingress: %w", err)
	}
	return err
}

func (s side) opposite() side {
	if s == ingressSide {
		return egressSide
	}
	return ingressSide
}

// headOf is the preference of what is to come first. Filters of a preference are of
// one kind and protocol; of ours, the newest is first.
func headOf(all []netlink.Filter) uint16 {
	taken := map[uint16]bool{}
	for _, f := range all {
		a := f.Attrs()
		if f.Type() != "bpf" || a.Protocol != unix.ETH_P_ALL {
			taken[a.Priority] = true
		}
	}
	first := uint16(1)
	for taken[first] {
		first++
	}
	return first
}

func filtersOf(index int, s side) ([]netlink.Filter, error) {
	all, err := netlink.FilterList(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: index}}, s.clsact)
	if err != nil {
		return nil, fmt.Errorf("list filters: %w", err)
	}
	return all, nil
}

// ownFilter is Weir's among the filters of a side; nil where there is none.
func ownFilter(all []netlink.Filter) *netlink.BpfFilter {
	for _, f := range all {
		if b, ok := f.(*netlink.BpfFilter); ok && strings.HasPrefix(b.Name, filterName) {
			return b
		}
	}
	return nil
}

func ownsQdisc(f *netlink.BpfFilter) bool {
	return f != nil && strings.HasSuffix(f.Name, filterOwnQdisc)
}

func (h *filterHook) keep(path string) error {
	if h.array.IsPinned() {
		return nil // taken over
	}
	return h.array.Pin(path)
}

// release fails only where the file is gone already.
func (h *filterHook) release() { h.array.Unpin() }

func (h *filterHook) isLost() bool {
	all, err := netlink.FilterList(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: h.filter.LinkIndex}}, h.filter.Parent)
	return err == nil && ownFilter(all) == nil
}

func (h *filterHook) close() error {
	if h.array.IsPinned() {
		return h.array.Close()
	}
	return errors.Join(removeFilter(h.filter), h.array.Close())
}

// removeFilter removes a filter, and with the last one the qdisc, where Weir made
// it.
func removeFilter(f *netlink.BpfFilter) error {
	// EINVAL: the qdisc is gone.
	err := netlink.FilterDel(f)
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove a filter: %w", err)
	}
	if !ownsQdisc(f) {
		return nil
	}
	for _, s := range []side{ingressSide, egressSide} {
		if left, err := filtersOf(f.LinkIndex, s); err != nil || len(left) > 0 {
			return err
		}
	}
	err = netlink.QdiscDel(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: f.LinkIndex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}})
	if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the clsact qdisc: %w", err)
	}
	return nil
}

// leaveStaleFilters removes what an earlier instance left at interfaces that are
// no longer chosen.
func (d *Datapath) leaveStaleFilters() error {
	if !d.clsact {
		return nil
	}
	for index, i := range d.paths.interfaces {
		if d.attached[index] != nil || isTap(i.name) {
			continue
		}
		for _, s := range []side{ingressSide, egressSide} {
			all, err := filtersOf(index, s)
			if err != nil {
				return err
			}
			f := ownFilter(all)
			if f == nil {
				continue
			}
			if err := removeFilter(f); err != nil {
				return fmt.Errorf("leave %s: %w", i.name, err)
			}
			d.log.Info("No longer watching an interface.", zap.String("interface", i.name), zap.String("hook", s.name))
		}
	}
	return nil
}
