package policy

import (
	"maps"
	"slices"
	"strings"
)

const acceptedName7 = "a name example.com, *.example.com, **.example.com, .example.com, or group:NAME"

// names reads a list of domain names.
func (c *cursor) names(r *Rule) *NameSet {
	include, exclude := &nameList{}, &nameList{}
	s := &NameSet{rest: true}
	grouped := false
	ok := c.list(acceptedName7, func(at *cursor) {
		text, ok := at.text(acceptedName7)
		if !ok {
			return
		}
		entry, except := strings.CutPrefix(text, "!")
		if !except {
			s.rest = false
		}
		if name, isGroup := strings.CutPrefix(entry, "group:"); isGroup {
			grouped = true
			g := at.groupNames(name)
			switch {
			case g == nil || g.names.empty():
			case except:
				s.exclude = append(s.exclude, g.names)
			default:
				s.include = append(s.include, g.names)
			}
			return
		}
		list := include
		if except {
			list = exclude
		}
		if found, hint := list.add(entry); found != "" {
			at.fail(found, acceptedName7, hint)
		}
	})
	if !ok {
		return nil
	}
	if !include.empty() {
		s.include = append(s.include, include)
	}
	if !exclude.empty() {
		s.exclude = append(s.exclude, exclude)
	}
	if grouped && !s.rest && len(s.include) == 0 {
		c.d.warnf(c.line(), r.Name, "the groups of %s are empty, so nothing meets it", c.path())
	}
	return s
}

func (c *cursor) groupNames(name string) *nameGroup {
	g, ok := c.d.nameGroups[name]
	if !ok {
		_, other := c.d.addressGroups[name]
		c.unknownGroup(name, "domains", slices.Collect(maps.Keys(c.d.nameGroups)), other)
	}
	return g
}
