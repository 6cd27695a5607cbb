package datapath

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
)

// Version is what a later process can know of tables that were put in force: the
// policy's generation, and the rules' names by index.
type Version struct {
	Tables     uint32
	Generation uint64
	Rules      []string
	// Gone: the kernel has the tables no more, only connections that they judged.
	Gone bool
}

// Versions are those whose tables the kernel has, the one in force last, after
// those of an earlier Weir whose tables had another layout.
func (d *Datapath) Versions() ([]Version, error) {
	d.swap.Lock()
	defer d.swap.Unlock()
	var list []Version
	for slot := range uint32(slots) {
		var set bpf.ConnectionsPolicySettings
		if err := d.objects.Settings.Lookup(slot, &set); err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		if set.Tables == 0 {
			continue // never filled, or not to the end
		}
		v := Version{Tables: set.Tables, Generation: set.Generation}
		labels, err := readTable[bpf.ConnectionsRuleLabel](d.readable[tableSlot("labels", slot)])
		if err != nil {
			return nil, fmt.Errorf("read the names of rules: %w", err)
		}
		for _, l := range labels {
			v.Rules = append(v.Rules, labelText(l))
		}
		list = append(list, v)
	}
	// The one in force comes last, as if it were the newest.
	slices.SortFunc(list, func(a, b Version) int {
		return cmp.Or(cmp.Compare(bit(a.Tables == d.tables), bit(b.Tables == d.tables)), cmp.Compare(a.Tables, b.Tables))
	})
	return append(slices.Clone(d.earlierVersions), list...), nil
}

// Matches reads how often each rule of the tables with that number decided. The
// tables must be held (Held).
func (d *Datapath) Matches(tables uint32) ([]uint64, error) {
	d.swap.Lock()
	defer d.swap.Unlock()
	counts, err := readTable[uint64](d.readable[tableSlot("matches", slotOf(tables))])
	if err != nil {
		return nil, fmt.Errorf("read the counters of rules: %w", err)
	}
	return counts, nil
}

// readTables are the tables that user space reads again. They are held, and
// pinned beside the outer maps: to open what is in an outer map takes
// CAP_SYS_ADMIN (BPF_MAP_GET_FD_BY_ID).
var readTables = []string{"labels", "matches"}

// tableSlot names such a table.
func tableSlot(name string, slot uint32) string { return fmt.Sprintf("%s_%d", name, slot) }

// keepReadable holds a table of a slot instead of the one before.
func (d *Datapath) keepReadable(name string, slot uint32, m *ebpf.Map) error {
	if !slices.Contains(readTables, name) {
		return nil
	}
	name = tableSlot(name, slot)
	clone, err := m.Clone()
	if err != nil {
		return err
	}
	d.reading.Lock()
	defer d.reading.Unlock()
	if before := d.readable[name]; before != nil {
		before.Close()
	}
	d.readable[name] = clone
	if !d.mapsPinned {
		return nil // with the others, if at all
	}
	if err := os.Remove(d.pins.mapPath(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	pinned, err := m.Clone() // one that is pinned cannot be pinned elsewhere
	if err != nil {
		return err
	}
	return errors.Join(pinned.Pin(d.pins.mapPath(name)), pinned.Close())
}

// readTable reads a whole table.
func readTable[V any](m *ebpf.Map) ([]V, error) {
	if m == nil {
		return nil, errors.New("it is not there")
	}
	keys, values := make([]uint32, m.MaxEntries()), make([]V, m.MaxEntries())
	var cursor ebpf.MapBatchCursor
	n, err := m.BatchLookup(&cursor, keys, values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) { // the latter: that was all
		return nil, err
	}
	return values[:n], nil
}

// AddRuleTotals adds counters that the next swap overwrites to those by name.
func (d *Datapath) AddRuleTotals(counts map[string]uint64) error {
	for name, count := range counts {
		if count == 0 {
			continue
		}
		key := labelOf(name)
		var total uint64
		err := d.objects.RuleTotals.Lookup(key, &total)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read the matches of rule %s: %w", name, err)
		}
		if err := d.objects.RuleTotals.Put(key, total+count); err != nil {
			return fmt.Errorf("save the matches of rule %s: %w", name, err)
		}
	}
	return nil
}

// RuleTotals are the matches by name in tables that are gone.
func (d *Datapath) RuleTotals() (map[string]uint64, error) {
	totals := map[string]uint64{}
	var label bpf.ConnectionsRuleLabel
	var count uint64
	all := d.objects.RuleTotals.Iterate()
	for all.Next(&label, &count) {
		totals[labelText(label)] = count
	}
	if err := all.Err(); err != nil {
		return nil, fmt.Errorf("read the matches of rules: %w", err)
	}
	return totals, nil
}

func labelOf(name string) (l bpf.ConnectionsRuleLabel) {
	for i := range min(len(name), len(l.Text)) {
		l.Text[i] = int8(name[i])
	}
	return l
}

func labelsOf(names []string) []bpf.ConnectionsRuleLabel {
	list := make([]bpf.ConnectionsRuleLabel, len(names))
	for i, name := range names {
		list[i] = labelOf(name)
	}
	return list
}

func labelText(l bpf.ConnectionsRuleLabel) string {
	text := make([]byte, 0, len(l.Text))
	for _, c := range l.Text {
		if c == 0 {
			break
		}
		text = append(text, byte(c))
	}
	return string(text)
}

// markIncomplete takes the slot's version away before its tables are.
func (d *Datapath) markIncomplete(slot uint32) error {
	var set bpf.ConnectionsPolicySettings
	if err := d.objects.Settings.Lookup(slot, &set); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	set.Tables = 0
	if err := d.objects.Settings.Put(slot, set); err != nil {
		return fmt.Errorf("mark the settings incomplete: %w", err)
	}
	return nil
}
