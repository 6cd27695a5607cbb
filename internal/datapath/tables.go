package datapath

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/classifier"
)

// tableMaps are the outer maps: a slot each for the tables in force and the
// next.
var tableMaps = []string{
	"roots", "nodes", "leaves", "items", "services", "rows", "summaries", "entries", "matches", "labels",
}

// Swap puts t in force by one write and returns the number that entries judged
// by it bear. generation is that of the policy, for Versions. Packets are judged
// by the old tables or by the new, never by parts of both: t is complete in a free
// slot before the number changes. The oldest of the earlier tables give way to
// the next Swap (Held).
//
// Where back is not nil, the kernel returns to earlier tables by itself. tell may be nil.
func (d *Datapath) Swap(t *classifier.Tables, generation uint64, back *Return, tell *SwapMoments) (uint32, error) {
	d.swap.Lock()
	defer d.swap.Unlock()
	if back != nil && !slices.Contains(d.slots[:], back.Tables) {
		return 0, fmt.Errorf("schedule a return to tables %d: the kernel has them no more", back.Tables)
	}
	slot, ok := d.victim(back)
	if !ok {
		return 0, fmt.Errorf("schedule a return to tables %d: all %d that the kernel has room for are in force or to be returned to", back.Tables, slots)
	}
	next := (d.latest>>slotBits+1)<<slotBits | slot
	d.latest = next // also where it fails: half of it may be there
	if d.breakSwap {
		slot = slotOf(d.tables)
		next = next&^(1<<slotBits-1) | slot
	}
	d.slots[slot] = 0
	if err := d.fill(slot, t, next, generation); err != nil {
		return 0, fmt.Errorf("load the policy's tables: %w", err)
	}
	d.slots[slot] = next
	if err := d.noteReturn(); err != nil {
		return 0, err
	}
	if tell == nil {
		nothing := func(uint32) {}
		tell = &SwapMoments{Before: nothing, After: nothing}
	}
	tell.Before(next)
	if err := d.putInForce(next, back); err != nil {
		return 0, err
	}
	if err := waitForPackets(); err != nil {
		return 0, err
	}
	tell.After(next)
	return next, d.emptySlots()
}

// SwapMoments are called by Swap with the number, and must not wait for another method of
// the datapath that has to do with tables.
type SwapMoments struct {
	// Before: there can be no entry with it yet. After: every packet from now on is judged
	// by it.
	Before, After func(tables uint32)
}

// emptySlots gives back the memory of tables that are no longer walked: neither
// in force nor to return to. Names and counters of their rules stay.
func (d *Datapath) emptySlots() error {
	o := &d.objects
	var emptied errgroup.Group
	for slot, tables := range d.slots {
		if tables == 0 || tables == d.tables || tables == d.back {
			continue
		}
		for _, outer := range []*ebpf.Map{o.Roots, o.Nodes, o.Leaves, o.Items, o.Services, o.Rows, o.Summaries, o.Entries} {
			emptied.Go(func() error {
				if err := outer.Delete(uint32(slot)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
					return fmt.Errorf("give back the memory of earlier tables: %w", err)
				}
				return nil
			})
		}
	}
	return emptied.Wait()
}

// putInForce writes the number, after the deadline is there that comes with it.
func (d *Datapath) putInForce(tables uint32, back *Return) error {
	v := bpf.ConnectionsInForce{Tables: d.tables}
	if back != nil {
		now, err := monotonic()
		if err != nil {
			return err
		}
		v.Deadline = now + uint64(max(0, back.Within))
		if err := d.objects.TablesInForce.Put(uint32(0), v); err != nil {
			return fmt.Errorf("set the deadline of the policy's tables: %w", err)
		}
		v.Scheduled = back.Tables
	}
	v.Tables = tables
	if err := d.objects.TablesInForce.Put(uint32(0), v); err != nil {
		return fmt.Errorf("put the policy's tables in force: %w", err)
	}
	d.tables, d.back, d.deadline = tables, v.Scheduled, v.Deadline
	return nil
}

// waitForPackets returns when every packet that may have read the old number has
// been judged: only then may the next swap touch its slot. Programs run as RCU
// readers, and this system call waits for all of those.
func waitForPackets() error {
	const membarrierGlobal = 1 // MEMBARRIER_CMD_GLOBAL of <linux/membarrier.h>
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0)
	if errno == unix.EINVAL || errno == unix.ENOSYS {
		// Not with nohz_full processors: a walk takes microseconds.
		time.Sleep(10 * time.Millisecond)
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("wait for packets that the old tables judge: %w", errno)
	}
	return nil
}

// fill makes the slot's tables. Placing one waits until no program uses the one
// that was there, so all are placed at once and wait together.
func (d *Datapath) fill(slot uint32, t *classifier.Tables, number uint32, generation uint64) error {
	o := &d.objects
	if err := d.markIncomplete(slot); err != nil {
		return err
	}
	tries := makeTries(t)
	entries, err := kernelEntries(t)
	if err != nil {
		return err
	}
	var placed errgroup.Group
	place := func(outer *ebpf.Map, name string, size int, fill func(*ebpf.Map) error) {
		placed.Go(func() error { return d.fillInner(outer, name, slot, size, fill) })
	}
	place(o.Roots, "roots", len(tries.roots), putAll(tries.roots))
	place(o.Nodes, "nodes", len(tries.nodes), putAll(tries.nodes))
	place(o.Leaves, "leaves", len(tries.leaves), putAll(tries.leaves))
	items := kernelItems(t)
	place(o.Items, "items", len(items), putAll(items))
	place(o.Services, "services", 1, putAll([]bpf.ConnectionsPolicyServices{{
		SourcePort: t.Services.SourcePort, DestinationPort: t.Services.DestinationPort, Protocol: t.Services.Protocol,
	}}))
	rows := kernelRows(t)
	place(o.Rows, "rows", len(rows), putAll(rows))
	summaries := kernelSummaries(t)
	place(o.Summaries, "summaries", len(summaries), putAll(summaries))
	place(o.Entries, "entries", len(entries), putAll(entries))
	place(o.Matches, "matches", len(t.Rules), func(*ebpf.Map) error { return nil })
	place(o.Labels, "labels", len(t.Rules), putAll(labelsOf(t.Rules)))
	if err := placed.Wait(); err != nil {
		return err
	}
	set := kernelSettings(t)
	set.Tables, set.Generation = number, generation
	if err := o.Settings.Put(slot, set); err != nil {
		return fmt.Errorf("place the settings: %w", err)
	}
	return nil
}

// fillInner makes a new inner map, fills it and puts it into the slot. The
// kernel waits until nobody uses the one that was there.
func (d *Datapath) fillInner(outer *ebpf.Map, name string, slot uint32, size int, fill func(*ebpf.Map) error) error {
	spec := d.inner[name].Copy()
	spec.MaxEntries = uint32(max(size, 1))
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return fmt.Errorf("make table %s for %d entries: %w", name, size, err)
	}
	defer m.Close() // the outer map keeps it
	if err := fill(m); err != nil {
		return fmt.Errorf("fill table %s with %d entries: %w", name, size, err)
	}
	if err := outer.Put(slot, m); err != nil {
		return fmt.Errorf("place table %s: %w", name, err)
	}
	if err := d.keepReadable(name, slot, m); err != nil {
		return fmt.Errorf("hold table %s: %w", name, err)
	}
	return nil
}

// putAll fills an array.
func putAll[V any](values []V) func(*ebpf.Map) error {
	return func(m *ebpf.Map) error {
		if len(values) == 0 {
			return nil
		}
		keys := make([]uint32, len(values))
		for i := range keys {
			keys[i] = uint32(i)
		}
		_, err := m.BatchUpdate(keys, values, nil)
		return err
	}
}
