package datapath

import (
	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
)

// firstPrograms are those that every Weir needs. Those of devices without an Ethernet
// header, which few hosts have, are loaded when one is to be watched: the kernel
// takes a third of a second to verify each.
type firstPrograms struct {
	bpf.ConnectionsMaps
	Ingress     *ebpf.Program `ebpf:"ingress"`
	Egress      *ebpf.Program `ebpf:"egress"`
	Sweep       *ebpf.Program `ebpf:"sweep"`
	SettleFlows *ebpf.Program `ebpf:"settle_flows"`
}

// loadFirst loads the maps, in place of those that are kept, and the programs.
func (d *Datapath) loadFirst(spec *ebpf.CollectionSpec, kept map[string]*ebpf.Map) error {
	var first firstPrograms
	if err := spec.LoadAndAssign(&first, &ebpf.CollectionOptions{MapReplacements: kept}); err != nil {
		return err
	}
	d.spec = spec
	d.objects = bpf.ConnectionsObjects{
		ConnectionsMaps: first.ConnectionsMaps,
		ConnectionsPrograms: bpf.ConnectionsPrograms{
			Ingress: first.Ingress, Egress: first.Egress, Sweep: first.Sweep, SettleFlows: first.SettleFlows,
		},
	}
	return nil
}

// loadBare loads the programs of devices without an Ethernet header, with the same
// constants, on the same maps.
func (d *Datapath) loadBare() error {
	if d.objects.IngressL3 != nil {
		return nil
	}
	var bare struct {
		Ingress *ebpf.Program `ebpf:"ingress_l3"`
		Egress  *ebpf.Program `ebpf:"egress_l3"`
	}
	maps := mapsByName(&d.objects.ConnectionsMaps)
	if err := d.spec.LoadAndAssign(&bare, &ebpf.CollectionOptions{MapReplacements: maps}); err != nil {
		return explainLoad(err)
	}
	d.objects.IngressL3, d.objects.EgressL3 = bare.Ingress, bare.Egress
	return nil
}

// running are the programs that are loaded.
func (d *Datapath) running() (list []*ebpf.Program) {
	d.attach.Lock()
	all := []*ebpf.Program{d.objects.Ingress, d.objects.Egress, d.objects.IngressL3, d.objects.EgressL3, d.xdp.program}
	d.attach.Unlock()
	d.looking.Lock()
	all = append(all, d.look)
	d.looking.Unlock()
	d.holding.Lock()
	if d.hold != nil {
		all = append(all, d.hold.programs.Hold, d.hold.programs.HoldEnter, d.hold.programs.HoldReturn)
	}
	d.holding.Unlock()
	for _, p := range all {
		if p != nil {
			list = append(list, p)
		}
	}
	return list
}
