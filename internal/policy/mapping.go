package policy

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fields are the values of a mapping by key.
type fields []*cursor

// get is the value of a key, nil when it is not there.
func (f fields) get(key string) *cursor {
	for _, c := range f {
		if c.key == key {
			return c
		}
	}
	return nil
}

// mapping reads a mapping whose keys are known.
func (c *cursor) mapping(keys []string) (fields, bool) {
	if c.n.Kind != yaml.MappingNode {
		return c.entries("a mapping with the keys " + strings.Join(keys, ", "))
	}
	f, ok := c.entries("")
	if !ok {
		return nil, false
	}
	for _, v := range f {
		if contains(keys, v.key) {
			continue
		}
		ok = false
		hint := ""
		if near := nearest(v.key, keys); near != "" {
			hint = "did you mean " + near + "?"
		} else if v.key == "<<" {
			hint = "merge keys are not read: repeat the keys"
		}
		v.fail("unknown key "+quote(v.key), strings.Join(keys, ", "), hint)
	}
	return f, ok
}

// entries reads a mapping of whatever keys.
func (c *cursor) entries(accepted string) (fields, bool) {
	if !c.known() {
		return nil, false
	}
	if c.n.Kind != yaml.MappingNode {
		hint := ""
		if c.isNull() {
			hint = "write {} for none"
		}
		c.fail("found "+c.what(), accepted, hint)
		return nil, false
	}
	f := fields(c.d.fields.take(len(c.n.Content) / 2))[:0]
	var seen map[string]int
	if len(c.n.Content) > 32 {
		seen = make(map[string]int, len(c.n.Content)/2)
	}
	ok := true
	for i := 0; i+1 < len(c.n.Content) && !c.stopped(); i += 2 {
		key := c.n.Content[i]
		if key.Kind != yaml.ScalarNode || strings.HasPrefix(key.Tag, "!") && key.Tag != "!!str" {
			// Not plain at first sight; only then is a cursor worth its while.
			k := c.child("", -1, key)
			if !k.known() {
				ok = false
				continue
			}
			if k.n.Kind != yaml.ScalarNode {
				k.fail("found "+k.what()+" as a key", "a text", "")
				ok = false
				continue
			}
			key = k.n
		}
		v := c.child(key.Value, -1, c.n.Content[i+1])
		// The key's place is told rather than the value's, which may be lines below.
		v.place = c.n.Content[i]
		if v.n.Kind == yaml.ScalarNode {
			v.place = c.n.Content[i+1]
		}
		first := 0
		if seen != nil {
			first = seen[v.key]
			seen[v.key] = max(c.n.Content[i].Line, 1)
		} else if before := f.get(v.key); before != nil {
			first = max(before.line(), 1)
		}
		if first > 0 {
			v.place = c.n.Content[i]
			v.fail("the key "+quote(v.key)+" is here a second time", "each key once", fmt.Sprintf("the first is in line %d", first))
			ok = false
			continue
		}
		f = append(f, v)
	}
	return f, ok
}
