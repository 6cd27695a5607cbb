package policy

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

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

// text is a scalar as it stands in the source: 1.0 stays 1.0. It is part of the
// source, so what keeps it clones it.
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
	if c.n.Kind == yaml.ScalarNode && c.n.Tag == "!!str" {
		if i := slices.Index(words, c.n.Value); i >= 0 {
			return i, true
		}
	}
	accepted := strings.Join(words, ", ")
	s, ok := c.text(accepted)
	if !ok {
		return 0, false
	}
	if i := slices.Index(words, s); i >= 0 {
		return i, true
	}
	hint := ""
	if near := nearest(s, words); near != "" {
		hint = "did you mean " + near + "?"
	}
	c.fail(quote(s)+" is not known here", accepted, hint)
	return 0, false
}
