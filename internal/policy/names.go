package policy

import "strings"

// NameSet is a set of domain names by patterns. Exceptions win whatever their
// place; with exceptions only, all other names are in it.
type NameSet struct {
	include, exclude []*nameList
	// rest: there are exceptions only.
	rest bool
}

// Match says whether the name is in the set. Case, IDNA form and final dot do
// not matter.
func (s *NameSet) Match(name string) bool {
	name = normalName(name)
	if name == "" {
		return false
	}
	for _, l := range s.exclude {
		if l.has(name) {
			return false
		}
	}
	if s.rest {
		return true
	}
	for _, l := range s.include {
		if l.has(name) {
			return true
		}
	}
	return false
}

// MatchAny says whether one of several names of the same thing is in the set,
// and none of them is an exception.
func (s *NameSet) MatchAny(names []string) bool {
	found := false
	for _, name := range names {
		n := normalName(name)
		if n == "" {
			continue
		}
		for _, l := range s.exclude {
			if l.has(n) {
				return false
			}
		}
		found = found || s.rest || s.Match(n)
	}
	return found
}

// The ways in which a name of a nameList matches, as bits.
const (
	asIs      = 1 << iota // example.com
	andUnder              // .example.com: it and all under it
	labelOver             // *.example.com: one label before it
	someOver              // **.example.com: one label or more before it
)

// nameList holds the patterns of a group or of a list, such that the number of
// patterns does not matter: names are looked up whole and by their endings.
type nameList struct {
	ways map[string]uint8
	// globs are the patterns with wildcards elsewhere, as labels.
	globs [][]string
}

func (l *nameList) empty() bool { return len(l.ways) == 0 && len(l.globs) == 0 }

// has looks up a name in normal form.
func (l *nameList) has(name string) bool {
	if l.ways[name]&(asIs|andUnder) != 0 {
		return true
	}
	for depth, rest := 1, name; ; depth++ {
		_, after, found := strings.Cut(rest, ".")
		if !found {
			break
		}
		ways := l.ways[after]
		if ways&(andUnder|someOver) != 0 || depth == 1 && ways&labelOver != 0 {
			return true
		}
		rest = after
	}
	if len(l.globs) == 0 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, glob := range l.globs {
		if matchLabels(glob, labels) {
			return true
		}
	}
	return false
}

// matchLabels: "*" is one label, "**" one or more. Only the last "**" needs to
// be tried again, so the time is at most the product of the lengths.
func matchLabels(glob, labels []string) bool {
	g, l := 0, 0
	again, from := -1, 0
	for l < len(labels) {
		switch {
		case g < len(glob) && glob[g] == "**":
			again, from = g+1, l+1
			g, l = g+1, l+1
		case g < len(glob) && (glob[g] == "*" || glob[g] == labels[l]):
			g, l = g+1, l+1
		case again >= 0:
			from++
			g, l = again, from
		default:
			return false
		}
	}
	return g == len(glob)
}

// add puts a pattern into the list, or says what is wrong with it.
func (l *nameList) add(pattern string) (found, hint string) {
	way, base := uint8(asIs), pattern
	switch {
	case strings.HasPrefix(pattern, "**."):
		way, base = someOver, pattern[3:]
	case strings.HasPrefix(pattern, "*."):
		way, base = labelOver, pattern[2:]
	case strings.HasPrefix(pattern, "."):
		way, base = andUnder, pattern[1:]
	}
	if !strings.Contains(base, "*") {
		name, problem, hint := normalPattern(base)
		if problem != "" {
			return quote(pattern) + " " + problem, hint
		}
		if l.ways == nil {
			l.ways = map[string]uint8{}
		}
		l.ways[strings.Clone(name)] |= way
		return "", ""
	}
	if way == andUnder {
		return quote(pattern) + " has a wildcard after its leading dot", "write **" + pattern
	}
	var glob []string
	for _, label := range strings.Split(strings.TrimSuffix(pattern, "."), ".") {
		if label != "*" && label != "**" {
			if strings.Contains(label, "*") {
				return quote(pattern) + " has a wildcard within a label", "* stands for a whole label, ** for one or more"
			}
			name, problem, hint := normalPattern(label)
			if problem != "" {
				return quote(pattern) + " " + problem, hint
			}
			label = name
		}
		glob = append(glob, strings.Clone(label))
	}
	if len(glob) > 127 {
		return quote(pattern) + " has too many labels", ""
	}
	l.globs = append(l.globs, glob)
	return "", ""
}
