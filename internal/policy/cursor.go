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
	at := &c.d.cursors.take(1)[0]
	*at = cursor{d: c.d, n: n, up: c, key: key, index: index, place: n, aliased: c.aliased}
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
			parts = append(parts, "."+shorten(at.key))
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
	switch tag {
	case "!!str", "!!map", "!!seq":
		return true
	}
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

func (c *cursor) isNull() bool {
	// Most are texts; ShortTag takes long to find that out.
	return c.n.Kind == yaml.ScalarNode && c.n.Tag != "!!str" && c.n.ShortTag() == "!!null"
}

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
