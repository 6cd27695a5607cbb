package datapath

import (
	"errors"
	"sync"

	"github.com/cilium/ebpf"
)

// The programs are loaded in parts, those at the same time whose verification takes
// the kernel a third of a second each. Those of devices without an Ethernet header,
// which few hosts have, are loaded when one is to be watched.
type (
	inPrograms struct {
		Ingress     *ebpf.Program `ebpf:"ingress"`
		Sweep       *ebpf.Program `ebpf:"sweep"`
		SettleFlows *ebpf.Program `ebpf:"settle_flows"`
	}
	outPrograms struct {
		Egress *ebpf.Program `ebpf:"egress"`
	}
	bareInPrograms struct {
		Ingress *ebpf.Program `ebpf:"ingress_l3"`
	}
	bareOutPrograms struct {
		Egress *ebpf.Program `ebpf:"egress_l3"`
	}
)

// loadFirst loads the maps, in place of those that are kept, and the programs that
// every Weir needs. What is loaded where it fails remains to be closed.
func (d *Datapath) loadFirst(spec *ebpf.CollectionSpec, kept map[string]*ebpf.Map) error {
	if err := spec.LoadAndAssign(&d.objects.ConnectionsMaps, &ebpf.CollectionOptions{MapReplacements: kept}); err != nil {
		return err
	}
	d.spec = spec
	var in inPrograms
	var out outPrograms
	err := d.loadParts(&in, &out)
	d.objects.Ingress, d.objects.Sweep, d.objects.SettleFlows, d.objects.Egress = in.Ingress, in.Sweep, in.SettleFlows, out.Egress
	return err
}

// loadBare loads the programs of devices without an Ethernet header.
func (d *Datapath) loadBare() error {
	if d.objects.IngressL3 != nil {
		return nil
	}
	var in bareInPrograms
	var out bareOutPrograms
	if err := d.loadParts(&in, &out); err != nil {
		return errors.Join(explainLoad(err), in.Ingress.Close(), out.Egress.Close())
	}
	d.objects.IngressL3, d.objects.EgressL3 = in.Ingress, out.Egress
	return nil
}

// loadParts loads the programs of two structs at the same time, with the same
// constants, on the same maps.
func (d *Datapath) loadParts(parts ...any) error {
	errs := make([]error, len(parts))
	maps := mapsByName(&d.objects.ConnectionsMaps)
	var loading sync.WaitGroup
	for i, part := range parts {
		spec := d.spec.Copy()
		loading.Go(func() { errs[i] = spec.LoadAndAssign(part, &ebpf.CollectionOptions{MapReplacements: maps}) })
	}
	loading.Wait()
	return errors.Join(errs...)
}
