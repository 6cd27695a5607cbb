package policy

import (
	"sort"
	"strings"
)

// ruleChanges tells of the rules in the order in which they stand now; those that
// went come where they stood.
func ruleChanges(before, after []ruleOutline) []RuleChange {
	places := make(map[string]int, len(before))
	for i := range before {
		places[before[i].name] = i
	}
	common := make([]int, 0, len(after)) // places before, in the order of after
	kept := make(map[int]bool, len(after))
	for i := range after {
		if old, found := places[after[i].name]; found {
			common = append(common, old)
			kept[old] = true
		}
	}
	inOrder := longestRise(common)
	gone := renames(before, after, places, kept)

	var changes []RuleChange
	removed := func(upTo int) {
		for len(gone.left) > 0 && gone.left[0] < upTo {
			r := &before[gone.left[0]]
			changes = append(changes, RuleChange{Name: r.name, Change: "removed", OldPlace: gone.left[0] + 1, Fields: fieldChanges(r.fields, nil)})
			gone.left = gone.left[1:]
		}
	}
	// What went stood before the next rule that is in both.
	next := make([]int, len(after))
	for i, upTo := len(after)-1, len(before); i >= 0; i-- {
		if old, found := places[after[i].name]; found {
			upTo = old
		}
		next[i] = upTo
	}
	for i := range after {
		r := &after[i]
		old, found := places[r.name]
		removed(next[i])
		switch {
		case found:
			c := RuleChange{Name: r.name, Change: "changed", OldPlace: old + 1, NewPlace: i + 1, Moved: !inOrder[old]}
			c.Fields = fieldChanges(before[old].fields, r.fields)
			if len(c.Fields) == 0 {
				c.Change = "moved"
			}
			if len(c.Fields) > 0 || c.Moved {
				changes = append(changes, c)
			}
		case gone.was[i] > 0:
			old := gone.was[i] - 1
			changes = append(changes, RuleChange{Name: r.name, Change: "renamed", Was: before[old].name, OldPlace: old + 1, NewPlace: i + 1})
		default:
			changes = append(changes, RuleChange{Name: r.name, Change: "added", NewPlace: i + 1, Fields: fieldChanges(nil, r.fields)})
		}
	}
	removed(len(before))
	return changes
}

// goneRules are the rules whose name is no more: those that went, by place, and
// those that have another name now, their place plus one by their place now.
type goneRules struct {
	left []int
	was  map[int]int
}

// renames finds, for rules of a new name, one that went and says the same.
func renames(before, after []ruleOutline, places map[string]int, kept map[int]bool) goneRules {
	gone := goneRules{was: map[int]int{}}
	texts := map[string][]int{}
	for i := range before {
		if !kept[i] {
			texts[before[i].text()] = append(texts[before[i].text()], i)
		}
	}
	taken := map[int]bool{}
	for i := range after {
		if _, found := places[after[i].name]; found {
			continue
		}
		text := after[i].text()
		if old := texts[text]; len(old) > 0 {
			gone.was[i] = old[0] + 1
			taken[old[0]] = true
			texts[text] = old[1:]
		}
	}
	for i := range before {
		if !kept[i] && !taken[i] {
			gone.left = append(gone.left, i)
		}
	}
	return gone
}

// text tells rules with different fields apart.
func (r *ruleOutline) text() string {
	var b strings.Builder
	for _, f := range r.fields {
		b.WriteString("\x00" + f.key)
		for _, v := range f.values {
			b.WriteString("\x01" + v)
		}
	}
	return b.String()
}

// longestRise is the longest subsequence that rises: what is not in it has moved.
func longestRise(list []int) map[int]bool {
	ends := make([]int, 0, len(list)) // places in list of the least end of each length
	previous := make([]int, len(list))
	for i, n := range list {
		at := sort.Search(len(ends), func(j int) bool { return list[ends[j]] >= n })
		previous[i] = -1
		if at > 0 {
			previous[i] = ends[at-1]
		}
		if at == len(ends) {
			ends = append(ends, i)
		} else {
			ends[at] = i
		}
	}
	rise := make(map[int]bool, len(ends))
	if len(ends) > 0 {
		for i := ends[len(ends)-1]; i >= 0; i = previous[i] {
			rise[list[i]] = true
		}
	}
	return rise
}
