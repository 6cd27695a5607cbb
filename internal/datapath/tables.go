package datapath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/classifier"
	"github.com/weirnet/weir/internal/policy"
)

// tableMaps are the outer maps: a slot each for the tables in force and the
// next.
var tableMaps = []string{
	"sources4", "sources6", "destinations4", "destinations6", "services", "rows", "entries", "matches", "labels",
}

// Swap puts t in force by one write and returns the number that entries judged
// by it bear. generation is that of the policy, for Version. Packets are judged by the old tables or by the new, never by
// parts of both: t is complete in the other slot before the number changes.
func (d *Datapath) Swap(t *classifier.Tables, generation uint64) (uint32, error) {
	d.swap.Lock()
	defer d.swap.Unlock()
	next := d.tables + 1
	slot := next & 1
	if d.breakSwap {
		slot = d.tables & 1
	}
	if d.breakSwap {
		next++ // the slot that is filled in place
	}
	if err := d.fill(slot, t, next, generation); err != nil {
		return 0, fmt.Errorf("load the policy's tables: %w", err)
	}
	if err := d.objects.TablesInForce.Put(uint32(0), next); err != nil {
		return 0, fmt.Errorf("put the policy's tables in force: %w", err)
	}
	d.tables = next
	return next, waitForPackets()
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
	rows, entries := kernelRows(t), kernelEntries(t)
	var placed errgroup.Group
	place := func(outer *ebpf.Map, name string, size int, fill func(*ebpf.Map) error) {
		placed.Go(func() error { return d.fillInner(outer, name, slot, size, fill) })
	}
	for _, p := range []struct {
		outer *ebpf.Map
		name  string
		rows  []classifier.PrefixRow
	}{{o.Sources4, "sources4", t.Source4}, {o.Destinations4, "destinations4", t.Destination4}} {
		place(p.outer, p.name, len(p.rows), func(m *ebpf.Map) error {
			return putBatch(m, keys4(p.rows), rowNumbers(p.rows))
		})
	}
	for _, p := range []struct {
		outer *ebpf.Map
		name  string
		rows  []classifier.PrefixRow
	}{{o.Sources6, "sources6", t.Source6}, {o.Destinations6, "destinations6", t.Destination6}} {
		place(p.outer, p.name, len(p.rows), func(m *ebpf.Map) error {
			return putBatch(m, keys6(p.rows), rowNumbers(p.rows))
		})
	}
	place(o.Services, "services", 1, func(m *ebpf.Map) error {
		return m.Put(uint32(0), bpf.ConnectionsPolicyServices{
			SourcePort: t.Services.SourcePort, DestinationPort: t.Services.DestinationPort,
			Protocol: t.Services.Protocol, Direction: t.Services.Direction,
		})
	})
	place(o.Rows, "rows", len(rows), func(m *ebpf.Map) error {
		return putBatch(m, indexes(len(rows)), rows)
	})
	place(o.Entries, "entries", len(entries), func(m *ebpf.Map) error {
		return putBatch(m, indexes(len(entries)), entries)
	})
	place(o.Matches, "matches", len(t.Rules), func(*ebpf.Map) error { return nil })
	place(o.Labels, "labels", len(t.Rules), func(m *ebpf.Map) error {
		return putBatch(m, indexes(len(t.Rules)), labelsOf(t.Rules))
	})
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
	return nil
}

func putBatch[K, V any](m *ebpf.Map, keys []K, values []V) error {
	if len(keys) == 0 {
		return nil
	}
	_, err := m.BatchUpdate(keys, values, nil)
	return err
}

func indexes(n int) []uint32 {
	list := make([]uint32, n)
	for i := range list {
		list[i] = uint32(i)
	}
	return list
}

func rowNumbers(rows []classifier.PrefixRow) []uint32 {
	list := make([]uint32, len(rows))
	for i, r := range rows {
		list[i] = r.Row
	}
	return list
}

func keys4(rows []classifier.PrefixRow) []bpf.ConnectionsPrefix4 {
	list := make([]bpf.ConnectionsPrefix4, len(rows))
	for i, r := range rows {
		a := r.Prefix.Addr().As4()
		list[i] = bpf.ConnectionsPrefix4{Bits: uint32(r.Prefix.Bits()), Address: binary.NativeEndian.Uint32(a[:])}
	}
	return list
}

func keys6(rows []classifier.PrefixRow) []bpf.ConnectionsPrefix6 {
	list := make([]bpf.ConnectionsPrefix6, len(rows))
	for i, r := range rows {
		list[i] = bpf.ConnectionsPrefix6{Bits: uint32(r.Prefix.Bits()), Address: addressWords(r.Prefix.Addr())}
	}
	return list
}

// addressWords is an address as flow_key holds it: IPv4 mapped, in network
// order.
func addressWords(a netip.Addr) (words [4]uint32) {
	b := a.As16()
	for i := range words {
		words[i] = binary.NativeEndian.Uint32(b[i*4:])
	}
	return words
}

func kernelRows(t *classifier.Tables) []bpf.ConnectionsPolicyRow {
	rows := make([]bpf.ConnectionsPolicyRow, len(t.Rows)/classifier.RowWords)
	for i := range rows {
		copy(rows[i].Word[:], t.Rows[i*classifier.RowWords:])
	}
	return rows
}

func kernelEntries(t *classifier.Tables) []bpf.ConnectionsPolicyEntry {
	entries := make([]bpf.ConnectionsPolicyEntry, len(t.Entries))
	for i := range t.Entries {
		e := &t.Entries[i]
		k := bpf.ConnectionsPolicyEntry{Over: uint64(e.Over), Rule: e.Rule, Action: uint8(e.Action)}
		for _, f := range []struct {
			on   bool
			flag bpf.ConnectionsEntryFlags
		}{
			{e.Shadow, bpf.ConnectionsEntryFlagsENTRY_SHADOW},
			{e.Safeguard, bpf.ConnectionsEntryFlagsENTRY_SAFEGUARD},
			{e.Undecided, bpf.ConnectionsEntryFlagsENTRY_UNDECIDED},
			{e.ErrorAllows, bpf.ConnectionsEntryFlagsENTRY_ERROR_ALLOWS},
			{e.Special == policy.OnLoopback, bpf.ConnectionsEntryFlagsENTRY_LOOPBACK},
			{e.Special == policy.HopLimit255, bpf.ConnectionsEntryFlagsENTRY_NEIGHBOR},
			{e.Special == policy.OwnSocket, bpf.ConnectionsEntryFlagsENTRY_OWN},
		} {
			if f.on {
				k.Flags |= uint8(f.flag)
			}
		}
		if e.Reject != nil {
			k.Reject = uint8(bpf.ConnectionsRejectChoiceREJECT_NO)
			if *e.Reject {
				k.Reject = uint8(bpf.ConnectionsRejectChoiceREJECT_YES)
			}
		}
		entries[i] = k
	}
	return entries
}

func kernelSettings(t *classifier.Tables) bpf.ConnectionsPolicySettings {
	s := t.Settings
	return bpf.ConnectionsPolicySettings{
		Chunks:         uint32(t.Chunks),
		Prevent:        bit(s.Prevent),
		DefaultAction:  uint8(s.DefaultAction),
		RejectMode:     uint8(s.Reject),
		BlockMalformed: bit(s.BlockMalformed),
		BlockNonIp:     bit(s.BlockNonIP),
		RelatedIcmp:    bit(s.RelatedICMP),
	}
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
