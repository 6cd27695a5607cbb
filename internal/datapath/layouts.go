package datapath

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// layoutsName is the pinned map that describes the others. The kernel knows the
// types of keys and values too, but tells them only to CAP_SYS_ADMIN
// (BPF_BTF_GET_FD_BY_ID), which Weir does without.
const layoutsName = "layouts"

// tableTypes are the types inside the policy's tables, whose maps have no types
// of their own.
var tableTypes = []string{
	"policy_entries", "policy_row", "policy_summary", "policy_items", "policy_services",
	"policy_settings", "trie_root", "trie_nodes", "trie_leaves", "rule_label",
}

// layouts are the types of a version's maps by role: "flows.key", "flows.value",
// "event", "verdict_totals.index".
type layouts map[string]btf.Type

// layoutsOf describes the maps of these programs.
func layoutsOf(spec *ebpf.CollectionSpec) (layouts, error) {
	l := layouts{}
	for name, m := range spec.Maps {
		if m.Key != nil && m.Value != nil && name[0] != '.' {
			l[name+".key"], l[name+".value"] = m.Key, m.Value
		}
	}
	for _, name := range append([]string{"event", "copy"}, tableTypes...) {
		var s *btf.Struct
		if err := spec.Types.TypeByName(name, &s); err != nil {
			return nil, fmt.Errorf("find type %s in the compiled programs: %w", name, err)
		}
		l[name] = s
	}
	// What the indexes of the counters are made of, outermost first.
	l["verdict_totals.index"] = nested(verdicts, actions, reasons, transports, directions)
	l["traffic_totals.index"] = nested(verdicts, transports, directions, 2)
	return l, nil
}

// nested is an array of arrays, for its dimensions alone.
func nested(dimensions ...uint32) btf.Type {
	var t btf.Type = &btf.Int{Name: "unsigned char", Size: 1}
	for _, n := range slices.Backward(dimensions) {
		t = &btf.Array{Index: &btf.Int{Name: "unsigned int", Size: 4}, Type: t, Nelems: n}
	}
	return t
}

// encode is the layouts as BTF, the roles being the members of one struct.
func (l layouts) encode() ([]byte, error) {
	all := &btf.Struct{Name: layoutsName}
	for role, t := range l {
		all.Members = append(all.Members, btf.Member{Name: role, Type: t})
	}
	slices.SortFunc(all.Members, func(a, b btf.Member) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	builder, err := btf.NewBuilder([]btf.Type{all}, nil)
	if err != nil {
		return nil, fmt.Errorf("describe the maps: %w", err)
	}
	blob, err := builder.Marshal(nil, nil)
	if err != nil {
		return nil, fmt.Errorf("describe the maps: %w", err)
	}
	return blob, nil
}

func decodeLayouts(blob []byte) (layouts, error) {
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(blob))
	if err != nil {
		return nil, fmt.Errorf("read the description of the maps: %w", err)
	}
	var all *btf.Struct
	if err := spec.TypeByName(layoutsName, &all); err != nil {
		return nil, fmt.Errorf("read the description of the maps: %w", err)
	}
	l := layouts{}
	for _, m := range all.Members {
		l[m.Name] = m.Type
	}
	return l, nil
}

// store makes the map that keeps the layouts: their length and they.
func (l layouts) store() (*ebpf.Map, error) {
	blob, err := l.encode()
	if err != nil {
		return nil, err
	}
	value := binary.NativeEndian.AppendUint32(nil, uint32(len(blob)))
	value = append(value, blob...)
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: layoutsName, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(len(value)), MaxEntries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("make the map that describes the others: %w", err)
	}
	if err := m.Put(uint32(0), value); err != nil {
		m.Close()
		return nil, fmt.Errorf("describe the maps: %w", err)
	}
	return m, nil
}

// readLayouts reads what store made.
func readLayouts(m *ebpf.Map) (layouts, error) {
	value, err := m.LookupBytes(uint32(0))
	if err != nil {
		return nil, fmt.Errorf("read the description of the maps: %w", err)
	}
	if len(value) < 4 || uint64(binary.NativeEndian.Uint32(value)) > uint64(len(value)-4) {
		return nil, fmt.Errorf("the description of the maps has %d bytes, which is too few", len(value))
	}
	return decodeLayouts(value[4:][:binary.NativeEndian.Uint32(value)])
}

// same says whether both have the same layout in these roles.
func (l layouts) same(other layouts, roles ...string) bool {
	for _, role := range roles {
		a, b := l[role], other[role]
		if (a == nil) != (b == nil) || a != nil && !sameLayout(a, b) {
			return false
		}
	}
	return true
}
