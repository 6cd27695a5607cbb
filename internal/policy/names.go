package policy

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

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

func newNameList() *nameList { return &nameList{ways: map[string]uint8{}} }

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
		l.ways[name] |= way
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
		glob = append(glob, label)
	}
	if len(glob) > 127 {
		return quote(pattern) + " has too many labels", ""
	}
	l.globs = append(l.globs, glob)
	return "", ""
}

// nameProfile maps names as a resolver does before it asks for them. Strict
// rules are off, since names of services have underscores.
var nameProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// normalPattern is the normal form of a name in a policy, or what is wrong.
func normalPattern(s string) (name, problem, hint string) {
	if a, ok := addressLiteral(s); ok {
		return a, "", ""
	}
	bad := func(b byte) bool {
		return b <= ' ' || b == 0x7f || strings.IndexByte("!\"#$%&'()+,/:;<=>?@[\\]^`{|}~", b) >= 0
	}
	for i := range len(s) {
		if bad(s[i]) {
			switch {
			case strings.Contains(s, "://"):
				hint = "leave out the scheme and the path"
			case s[i] == '/':
				hint = "leave out the path"
			case s[i] == ':':
				hint = "leave out the port"
			}
			return "", "has the character " + quote(s[i:i+1]) + ", which names have not", hint
		}
	}
	name = strings.TrimSuffix(s, ".")
	ascii := isLowerASCII(name)
	if !ascii {
		var err error
		if name, err = nameProfile.ToASCII(name); err != nil {
			return "", "is not a name in IDNA: " + strings.TrimPrefix(err.Error(), "idna: "), ""
		}
	}
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return "", "is not a name of 1 to 253 characters", ""
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", "has a label that is not of 1 to 63 characters", ""
		}
	}
	return name, "", ""
}

// addressLiteral is the normal form of an address that stands where a name could,
// as the host of a URL does.
func addressLiteral(s string) (string, bool) {
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return "", false
	}
	return a.String(), true
}

// normalName is the normal form of a name that was seen; one that is not valid
// is compared as it is, in lower case.
func normalName(s string) string {
	s = strings.TrimSuffix(s, ".")
	if isLowerASCII(s) && !strings.HasPrefix(s, "[") {
		return s
	}
	if a, ok := addressLiteral(s); ok {
		return a
	}
	for i := range len(s) {
		if s[i] >= 0x80 {
			if name, err := nameProfile.ToASCII(s); err == nil {
				return strings.TrimSuffix(name, ".")
			}
			break
		}
	}
	return strings.ToLower(s)
}

// isLowerASCII says whether nothing needs to be mapped.
func isLowerASCII(s string) bool {
	for i := range len(s) {
		if b := s[i]; b >= 0x80 || b >= 'A' && b <= 'Z' || b == ':' {
			return false
		}
	}
	return true
}
