package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"go.uber.org/zap"
)

// policyMaps refer to each other by slot and number: they are kept together, or
// made anew together.
var policyMaps = append([]string{"settings", "tables_in_force"}, tableMaps...)

// forgotten are maps whose content is worth nothing to another version: scratch,
// budgets of a moment, and the events, which are told of below.
var forgotten = []string{
	"copies", "events", "foldings", "fragment_locks", "handover_until", "holds", "looks_wanted", "opening_budgets", "own_sockets",
	"reader_sleeps", "reject_budgets", "stages", "walks", "workspaces",
}

// earlier is what an earlier instance left pinned.
type earlier struct {
	layouts   layouts
	described *ebpf.Map // holds them
	// readable are the policy's tables that are read again, by tableSlot.
	readable map[string]*ebpf.Map
	// kept fit the programs as they are.
	kept map[string]*ebpf.Map
	// differ have another layout or size: what is in them is carried over.
	differ map[string]*ebpf.Map
}

// openEarlier opens the maps an earlier instance left, by name. Without a
// description of them, or where they are not all there, it is nil.
func (p pins) openEarlier(spec *ebpf.CollectionSpec, ours layouts, log *zap.Logger) (*earlier, error) {
	names, err := p.mapNames()
	if err != nil || len(names) == 0 {
		return nil, err
	}
	e := &earlier{kept: map[string]*ebpf.Map{}, differ: map[string]*ebpf.Map{}, readable: map[string]*ebpf.Map{}}
	described, err := ebpf.LoadPinnedMap(p.mapPath(layoutsName), nil)
	if err == nil {
		e.described = described
		e.layouts, err = readLayouts(described)
	}
	if err != nil {
		e.close()
		log.Warn("The maps of an earlier Weir are not described, so that what is in them cannot be read; they are replaced, and its connections are forgotten.",
			zap.String("folder", p.folder), zap.Error(err))
		return nil, nil
	}
	for _, name := range names {
		if name == layoutsName {
			continue
		}
		m, err := ebpf.LoadPinnedMap(p.mapPath(name), nil)
		if err != nil {
			e.close()
			return nil, fmt.Errorf("open %s, which an earlier Weir left: %w; %s", p.mapPath(name), err, howToRemove)
		}
		switch {
		case isTableSlot(name):
			e.readable[name] = m
		case e.fits(name, m, spec, ours):
			e.kept[name] = m
		default:
			e.differ[name] = m
		}
	}
	e.keepPolicyTogether(ours)
	// The programs in it share every other map with those that go on to them.
	if m := e.kept["stages"]; m != nil && len(e.differ) > 0 {
		e.differ["stages"] = m
		delete(e.kept, "stages")
	}
	return e, nil
}

func isTableSlot(name string) bool {
	table, _, ok := strings.Cut(name, "_")
	return ok && slices.Contains(readTables, table)
}

// fits says whether the programs can use the map as it is.
func (e *earlier) fits(name string, m *ebpf.Map, spec *ebpf.CollectionSpec, ours layouts) bool {
	ms := spec.Maps[name]
	if ms == nil || ms.Compatible(m) != nil {
		return false
	}
	switch name {
	case "events":
		return e.layouts.same(ours, "event")
	case "copies":
		return e.layouts.same(ours, "copy")
	}
	return e.layouts.same(ours, name+".key", name+".value", name+".index")
}

// keepPolicyTogether gives up all of the policy's maps where one does not fit.
func (e *earlier) keepPolicyTogether(ours layouts) {
	fit := e.layouts.same(ours, tableTypes...)
	for _, name := range policyMaps {
		fit = fit && e.kept[name] != nil
	}
	if fit {
		return
	}
	for _, name := range policyMaps {
		if m := e.kept[name]; m != nil {
			e.differ[name] = m
			delete(e.kept, name)
		}
	}
}

// names of the maps that differ, for the log.
func (e *earlier) names() string {
	var list []string
	for name := range e.differ {
		list = append(list, name)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func (e *earlier) close() {
	closeMaps(e.kept)
	closeMaps(e.differ)
	closeMaps(e.readable)
	if e.described != nil {
		e.described.Close()
	}
}

// policyNumber is that of the tables in force in the maps that are not kept; 0
// where those of the policy are.
func (e *earlier) policyNumber() uint32 {
	var number uint32
	if m := e.differ["tables_in_force"]; m != nil {
		// The first four bytes are the number in every version.
		if value, err := m.LookupBytes(uint32(0)); err == nil && len(value) >= 4 {
			number = binary.NativeEndian.Uint32(value)
		}
	}
	return number
}

// versions are the policies in the maps that are not kept, with the matches of
// their rules.
func (e *earlier) versions() ([]Version, []map[string]uint64, error) {
	settings := e.differ["settings"]
	if settings == nil {
		return nil, nil, nil
	}
	t, err := newTranslator(e.layouts["settings.value"], settingsType())
	if err != nil {
		return nil, nil, err
	}
	var list []Version
	var counts []map[string]uint64
	for slot := range settings.MaxEntries() {
		value, err := settings.LookupBytes(slot)
		if err != nil || value == nil {
			return nil, nil, fmt.Errorf("read the settings of an earlier policy: %w", err)
		}
		var known [2]uint64 // as settingsType
		t.translate(bytesOf(&known), value)
		if known[0] == 0 {
			continue // never filled, or not to the end
		}
		v := Version{Tables: uint32(known[0]), Generation: known[1], Gone: true}
		rules, err := readBytes(e.readable[tableSlot("labels", slot)])
		if err != nil {
			return nil, nil, fmt.Errorf("read the names of an earlier policy's rules: %w", err)
		}
		numbers, err := readTable[uint64](e.readable[tableSlot("matches", slot)])
		if err != nil {
			return nil, nil, fmt.Errorf("read the matches of an earlier policy's rules: %w", err)
		}
		matched := map[string]uint64{}
		for i, text := range rules {
			name, _, _ := strings.Cut(string(text), "\x00")
			v.Rules = append(v.Rules, name)
			if i < len(numbers) && name != "" {
				matched[name] += numbers[i]
			}
		}
		list, counts = append(list, v), append(counts, matched)
	}
	return list, counts, nil
}

// settingsType is what of struct policy_settings user space reads again.
func settingsType() btf.Type {
	number := &btf.Int{Name: "unsigned long long", Size: 8}
	return &btf.Struct{Name: "policy_settings", Size: 16, Members: []btf.Member{
		{Name: "tables", Type: number}, {Name: "generation", Type: number, Offset: 64},
	}}
}

// readBytes reads a whole table of whatever values.
func readBytes(m *ebpf.Map) ([][]byte, error) {
	if m == nil {
		return nil, errors.New("it is not there")
	}
	var list [][]byte
	for i := range m.MaxEntries() {
		value, err := m.LookupBytes(i)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, nil
}

// carried are the maps that differ and whose content goes on. Those that the
// programs no longer have are let go.
func (e *earlier) carried(ours map[string]*ebpf.Map) map[string]*ebpf.Map {
	list := map[string]*ebpf.Map{}
	for name, m := range e.differ {
		if ours[name] != nil && !slices.Contains(forgotten, name) && !slices.Contains(policyMaps, name) {
			list[name] = m
		}
	}
	return list
}

// mapNames lists the maps that are pinned.
func (p pins) mapNames() ([]string, error) {
	list, err := os.ReadDir(p.maps())
	if err != nil && !isAbsent(err) {
		return nil, fmt.Errorf("list pinned maps: %w", err)
	}
	var names []string
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names, nil
}
