package datapath

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
)

// Timeouts are the idle times after which a connection is over.
type Timeouts struct {
	TCP time.Duration
	// TCPClosing is for TCP that was refused, never answered, or is closing.
	TCPClosing time.Duration
	UDP        time.Duration
	// ICMP is for ICMP and every other protocol.
	ICMP time.Duration
}

// Sweep is what one pass over the flow table found.
type Sweep struct {
	Active  uint64 // connections that are not over
	Entries uint64
	Ended   uint64 // entries removed
	// OldestTables is the lowest table number that an entry refers to.
	OldestTables uint32
}

// Sweep passes over the flow table: it ends what is idle and sends the events
// that are due; updates when update is not 0.
func (d *Datapath) Sweep(t Timeouts, update time.Duration) (Sweep, error) {
	return d.pass(t, update, false)
}

// LastSweep is a Sweep after which nobody may come to send what has to wait: it is
// sent now.
func (d *Datapath) LastSweep(t Timeouts) (Sweep, error) { return d.pass(t, 0, true) }

func (d *Datapath) pass(t Timeouts, update time.Duration, last bool) (Sweep, error) {
	d.sweep.Lock()
	defer d.sweep.Unlock()
	run := bpf.ConnectionsSweepRun{
		TcpNs: uint64(t.TCP), TcpClosingNs: uint64(t.TCPClosing),
		UdpNs: uint64(t.UDP), IcmpNs: uint64(t.ICMP), UpdateNs: uint64(update),
		LastTime: uint32(bit(last)),
	}
	if _, err := d.objects.Sweep.Run(&ebpf.RunOptions{Context: &run, ContextOut: &run}); err != nil {
		return Sweep{}, fmt.Errorf("sweep the flow table: %w", err)
	}
	return Sweep{
		Active: run.Active, Entries: run.Entries, Ended: run.Ended, OldestTables: run.OldestTables,
	}, nil
}
