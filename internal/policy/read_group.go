package policy

import (
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// addressGroup and nameGroup are the groups of the policy.
type (
	addressGroup struct{ prefixes []netip.Prefix }
	nameGroup    struct{ names *nameList }
)

const acceptedGroup = "a list, or {file: PATH} of a file with one entry per line"

// groups reads both kinds of groups.
func (d *decoder) groups(c *cursor) {
	d.addressGroups = map[string]*addressGroup{}
	d.nameGroups = map[string]*nameGroup{}
	f, _ := c.mapping([]string{"addresses", "domains"})
	if v := f.get("addresses"); v != nil {
		groups, _ := v.entries("named lists of addresses")
		for _, g := range groups {
			g.addressGroup()
		}
	}
	if v := f.get("domains"); v != nil {
		groups, _ := v.entries("named lists of domains")
		for _, g := range groups {
			g.nameGroup()
		}
	}
}

func (c *cursor) addressGroup() {
	g := &addressGroup{}
	ok := c.group(func(entry string) (found, accepted, hint string) {
		if found, hint = notInGroup(entry); found != "" {
			return found, acceptedInAddressGroup, hint
		}
		if c.d.prefixes > maxPrefixes {
			return "", "", ""
		}
		before := len(g.prefixes)
		prefixes, problem := appendAddresses(g.prefixes, entry)
		if problem != nil {
			return problem.found, acceptedInAddressGroup, problem.hint
		}
		if c.countPrefixes(len(prefixes) - before) {
			g.prefixes = prefixes
		}
		return "", "", ""
	})
	g.prefixes = c.d.lists.shared(slices.Clip(disjoint(g.prefixes)), true)
	if !ok {
		g = nil
	}
	c.d.addressGroups[strings.Clone(c.key)] = g
}

const (
	acceptedInAddressGroup = "an address, a prefix 192.0.2.0/24, a range 192.0.2.1-192.0.2.9"
	acceptedInNameGroup    = "a name example.com, *.example.com, **.example.com, .example.com"
)

func (c *cursor) nameGroup() {
	g := &nameGroup{names: &nameList{}}
	ok := c.group(func(entry string) (found, accepted, hint string) {
		if found, hint = notInGroup(entry); found != "" {
			return found, acceptedInNameGroup, hint
		}
		found, hint = g.names.add(entry)
		return found, acceptedInNameGroup, hint
	})
	if !ok {
		g = nil
	}
	c.d.nameGroups[strings.Clone(c.key)] = g
}

// notInGroup refuses what only rules may say.
func notInGroup(entry string) (found, hint string) {
	switch {
	case strings.HasPrefix(entry, "!"):
		return quote(entry) + " is an exception, and groups have none", "except it in the rule: \"!group:NAME\" or \"" + entry + "\""
	case strings.HasPrefix(entry, "group:"):
		return quote(entry) + " is a group in a group", "name both groups in the rule"
	}
	return "", ""
}

// group reads the entries of a group, in place or from its file. add answers
// with what is wrong with an entry.
func (c *cursor) group(add func(entry string) (found, accepted, hint string)) bool {
	ok := true
	if !isName(c.key, "._-") {
		c.fail(quote(c.key)+" cannot be a group's name", acceptedName, "")
		ok = false
	}
	before, beforeMore := len(c.d.errs), c.d.more
	switch {
	case c.n.Kind == yaml.MappingNode:
		f, known := c.mapping([]string{"file"})
		if file := f.get("file"); file != nil {
			file.listFile(add)
		} else if known {
			c.fail("found neither a list nor a file", acceptedGroup, "")
		}
	case c.n.Kind == yaml.SequenceNode && len(c.n.Content) == 0:
		c.d.warnf(c.line(), "", "the group %s is empty: what asks for it never matches", c.key)
	default:
		c.list(acceptedGroup, func(at *cursor) {
			entry, ok := at.text("an entry of the group")
			if !ok {
				return
			}
			if found, accepted, hint := add(entry); found != "" {
				at.fail(found, accepted, hint)
			}
		})
	}
	return ok && len(c.d.errs) == before && c.d.more == beforeMore
}

// listFile reads a file with one entry per line; "#" begins a comment.
func (c *cursor) listFile(add func(entry string) (found, accepted, hint string)) {
	name, ok := c.text("the path of a file")
	if !ok {
		return
	}
	if c.d.doc.Open == nil {
		c.fail("list files cannot be read here", "a list", "write the entries into the policy")
		return
	}
	content, err := c.d.doc.Open(name)
	if err != nil {
		c.fail("cannot read the list file: "+err.Error(), "", "")
		return
	}
	if e := checkText(content, MaxListSize, "a list file"); e != nil {
		e.File, e.Key = name, c.up.path()
		c.d.problem(e)
		return
	}
	rest := strings.TrimPrefix(string(content), "\ufeff")
	empty := true
	for line := 1; rest != ""; line++ {
		var entry string
		entry, rest, _ = strings.Cut(rest, "\n")
		entry, _, _ = strings.Cut(entry, "#")
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		empty = false
		if found, accepted, hint := add(entry); found != "" {
			c.d.problem(&Error{File: name, Line: line, Key: c.up.path(), Found: found, Accepted: accepted, Hint: hint})
		}
	}
	if empty {
		c.d.warnf(c.line(), "", "the group %s is empty, for its file %s is: what asks for it never matches", c.up.key, name)
	}
}

// unknownGroup tells of a group that is not there.
func (c *cursor) unknownGroup(name, kind string, names []string, otherKind bool) {
	hint := ""
	switch near := nearest(name, names); {
	case otherKind:
		hint = "a group of the other kind has this name"
	case near != "":
		hint = "did you mean group:" + near + "?"
	case len(names) == 0:
		hint = "the policy has none"
	}
	slices.Sort(names)
	accepted := strings.Join(names[:min(len(names), 10)], ", ")
	c.fail("there is no group "+quote(name)+" of "+kind, accepted, hint)
}
