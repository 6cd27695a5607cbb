package policy

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// cursor is a node of the text and the way there. The readers of the policy
// take cursors, and tell their problems by them.
type cursor struct {
	d  *decoder
	n  *yaml.Node
	up *cursor
	// key is the node's key in a mapping; index its place in a list, from 0, or
	// -1.
	key   string
	index int
	// place is the node whose line counts: that of the alias, not of its anchor.
	place *yaml.Node
	// aliased: read by way of an alias.
	aliased bool
}

func (d *decoder) cursor(root *yaml.Node) *cursor {
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	return (&cursor{d: d, index: -1}).child("", -1, root)
}

// child is the cursor of a node below c, with aliases followed.
func (c *cursor) child(key string, index int, n *yaml.Node) *cursor {
	at := &cursor{d: c.d, n: n, up: c, key: key, index: index, place: n, aliased: c.aliased}
	if n.Kind == yaml.AliasNode {
		at.n, at.aliased = n.Alias, true
	}
	if at.aliased {
		c.d.aliased++
		if c.d.aliased == maxAliased {
			at.fail(fmt.Sprintf("the aliases of this policy stand for more than %d values", maxAliased), "", "use groups instead of aliases")
		}
		if c.d.aliased >= maxAliased {
			at.n = &yaml.Node{Kind: 0}
		}
	}
	return at
}

// stopped says that nothing more is to be read.
func (c *cursor) stopped() bool { return c.d.aliased >= maxAliased }

// path is the key as messages have it: rules[3].layer3.source[0].
func (c *cursor) path() string {
	var parts []string
	for at := c; at.up != nil; at = at.up {
		switch {
		case at.index >= 0:
			parts = append(parts, "["+strconv.Itoa(at.index)+"]")
		case at.key != "":
			parts = append(parts, "."+at.key)
		}
	}
	var b strings.Builder
	b.WriteString(c.d.doc.KeyPrefix)
	for i := len(parts) - 1; i >= 0; i-- {
		part := parts[i]
		if s := b.String(); s == "" || strings.HasSuffix(s, ":") || strings.HasSuffix(s, ".") {
			part = strings.TrimPrefix(part, ".")
		}
		b.WriteString(part)
	}
	return b.String()
}

// line is that of the place in the text.
func (c *cursor) line() int { return c.place.Line }

func (c *cursor) fail(found, accepted, hint string) {
	c.d.problem(&Error{
		Line: c.place.Line, Column: c.place.Column, Key: c.path(),
		Found: found, Accepted: accepted, Hint: hint,
	})
}

// known checks that the node is one of plain YAML: something after an unquoted
// "!" is a tag to YAML, and an exception to whoever wrote it.
func (c *cursor) known() bool {
	if c.n.Kind == 0 {
		if !c.stopped() {
			c.fail("there is no value here", "", "")
		}
		return false
	}
	tag := c.n.Tag
	if !strings.HasPrefix(tag, "!") || strings.HasPrefix(tag, "!!") {
		switch c.n.ShortTag() {
		case "!!binary", "!!set", "!!omap", "!!pairs":
			c.fail("the tag "+c.n.ShortTag()+" is not used in policies", "", "")
			return false
		}
		return true
	}
	meant := tag + c.n.Value
	if c.n.Kind != yaml.ScalarNode {
		meant = tag
	}
	c.fail("an unquoted "+quote(meant)+" is a YAML tag, not a value", "", "quote it: "+strconv.Quote(meant))
	return false
}

func (c *cursor) isNull() bool { return c.n.Kind == yaml.ScalarNode && c.n.ShortTag() == "!!null" }

// what names the kind of the node, for messages.
func (c *cursor) what() string {
	switch {
	case c.n.Kind == yaml.MappingNode:
		return "a mapping"
	case c.n.Kind == yaml.SequenceNode:
		return "a list"
	case c.isNull():
		return "nothing"
	}
	return quote(c.n.Value)
}

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
	f, ok := c.entries("a mapping with the keys " + strings.Join(keys, ", "))
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
	f := make(fields, 0, len(c.n.Content)/2)
	var seen map[string]int
	if len(c.n.Content) > 32 {
		seen = make(map[string]int, len(c.n.Content)/2)
	}
	ok := true
	for i := 0; i+1 < len(c.n.Content) && !c.stopped(); i += 2 {
		k := c.child("", -1, c.n.Content[i])
		if !k.known() {
			ok = false
			continue
		}
		if k.n.Kind != yaml.ScalarNode {
			k.fail("found "+k.what()+" as a key", "a text", "")
			ok = false
			continue
		}
		v := c.child(k.n.Value, -1, c.n.Content[i+1])
		// The key's place is told rather than the value's, which may be lines below.
		v.place = c.n.Content[i]
		if v.n.Kind == yaml.ScalarNode {
			v.place = c.n.Content[i+1]
		}
		first := 0
		if seen != nil {
			first = seen[v.key]
			seen[v.key] = max(k.line(), 1)
		} else if before := f.get(v.key); before != nil {
			first = max(before.line(), 1)
		}
		if first > 0 {
			k.key = v.key
			k.fail("the key "+quote(v.key)+" is here a second time", "each key once", fmt.Sprintf("the first is in line %d", first))
			ok = false
			continue
		}
		f = append(f, v)
	}
	return f, ok
}

// list reads a list; a scalar is a list of one. An empty list is refused, since
// it may be taken for "none" as well as for "any".
func (c *cursor) list(accepted string, each func(*cursor)) bool {
	if !c.known() {
		return false
	}
	switch {
	case c.n.Kind == yaml.SequenceNode && len(c.n.Content) > 0:
		for i, n := range c.n.Content {
			if c.stopped() {
				return false
			}
			each(c.child("", i, n))
		}
		return true
	case c.n.Kind == yaml.SequenceNode:
		c.fail("an empty list", accepted, "leave the key out for any")
	case c.n.Kind == yaml.ScalarNode && !c.isNull():
		each(c)
		return true
	case c.isNull():
		c.fail("found nothing", accepted, "leave the key out for any")
	default:
		c.fail("found "+c.what(), accepted, "")
	}
	return false
}

// text is a scalar as it stands in the source: 1.0 stays 1.0.
func (c *cursor) text(accepted string) (string, bool) {
	if !c.known() {
		return "", false
	}
	if c.n.Kind != yaml.ScalarNode || c.isNull() {
		c.fail("found "+c.what(), accepted, "")
		return "", false
	}
	if c.n.Value == "" {
		c.fail("found an empty text", accepted, "")
		return "", false
	}
	return c.n.Value, true
}

// flag reads true or false.
func (c *cursor) flag() (value, ok bool) {
	const accepted = "true or false"
	s, ok := c.text(accepted)
	if !ok {
		return false, false
	}
	if c.n.ShortTag() != "!!bool" || s != "true" && s != "false" {
		c.fail(quote(s)+" is neither true nor false", accepted, "")
		return false, false
	}
	return s == "true", true
}

// word reads one of some words and gives its index.
func (c *cursor) word(words ...string) (int, bool) {
	accepted := strings.Join(words, ", ")
	s, ok := c.text(accepted)
	if !ok {
		return 0, false
	}
	for i, w := range words {
		if s == w {
			return i, true
		}
	}
	hint := ""
	if near := nearest(s, words); near != "" {
		hint = "did you mean " + near + "?"
	}
	c.fail(quote(s)+" is not known here", accepted, hint)
	return 0, false
}
