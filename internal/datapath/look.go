package datapath

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
)

// Look says which connections are looked into, of those that open from then on:
// copies of their packets come by ReadCopies. Never are those of Weir itself, those
// that a safeguard decides, those that are blocked at once, and those of which the
// beginning was not seen.
type Look struct {
	// TCP and UDP: all of that transport.
	TCP, UDP bool
	// Pending: those of either whose walk needs facts that are not known yet.
	Pending bool
}

// SetLook puts that in force. The program that copies is in the kernel only while
// there is something to look into; connections that are looked into when there is
// nothing any more are let be.
func (d *Datapath) SetLook(l Look) error {
	d.looking.Lock()
	defer d.looking.Unlock()
	var wanted uint32
	for flag, on := range map[bpf.ConnectionsLookWanted]bool{
		bpf.ConnectionsLookWantedLOOK_TCP: l.TCP, bpf.ConnectionsLookWantedLOOK_UDP: l.UDP,
		bpf.ConnectionsLookWantedLOOK_PENDING: l.Pending,
	} {
		if on {
			wanted |= uint32(flag)
		}
	}
	const stage = uint32(bpf.ConnectionsStageSTAGE_LOOK)
	if wanted != 0 && d.look == nil {
		program, err := d.loadLook()
		if err != nil {
			return err
		}
		if err := d.objects.Stages.Put(stage, program); err != nil {
			return errors.Join(fmt.Errorf("put the program that copies packets in its place: %w", err), program.Close())
		}
		d.look = program
	}
	if err := d.objects.LooksWanted.Put(uint32(0), wanted); err != nil {
		return fmt.Errorf("say which connections are looked into: %w", err)
	}
	if wanted != 0 {
		return nil
	}
	// An earlier process may have left one there.
	if err := ignoreAbsent(d.objects.Stages.Delete(stage)); err != nil {
		return fmt.Errorf("take the program that copies packets away: %w", err)
	}
	if d.look == nil {
		return nil
	}
	defer func() { d.look = nil }()
	return d.look.Close()
}

// loadLook loads the program that copies packets, on the maps of the others.
func (d *Datapath) loadLook() (*ebpf.Program, error) {
	spec, err := loadLook()
	if err != nil {
		return nil, fmt.Errorf("read the compiled program that copies packets: %w", err)
	}
	var loaded bpf.LookPrograms
	if err := spec.LoadAndAssign(&loaded, &ebpf.CollectionOptions{MapReplacements: d.sharedMaps(spec)}); err != nil {
		return nil, explainLoad(err)
	}
	return loaded.Look, nil
}

// sharedMaps are those that programs which are loaded later share with the others,
// by name; their specs are given the sizes.
func (d *Datapath) sharedMaps(spec *ebpf.CollectionSpec) map[string]*ebpf.Map {
	shared := map[string]*ebpf.Map{}
	for name, m := range mapsByName(&d.objects.ConnectionsMaps) {
		if s := spec.Maps[name]; s != nil {
			s.MaxEntries = m.MaxEntries()
			shared[name] = m
		}
	}
	return shared
}
