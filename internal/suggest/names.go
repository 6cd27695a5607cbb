package suggest

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// usableName is a name that may stand in a policy, in its normal form; empty where
// it is none: what a connection says is up to whoever began it.
func usableName(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || len(name) > 253 {
		return ""
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return ""
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return ""
		}
		for i := range len(label) {
			if b := label[i]; !(b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-' || b == '_') {
				return ""
			}
		}
	}
	return name
}

// gather writes one pattern for names that differ in their first label only, where
// there are more than most of them. Names right under a suffix under which anybody
// may register one are not joined.
func gather(names []string, most int) (patterns []string, widened bool) {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	byParent := map[string]int{}
	for _, name := range names {
		byParent[parent(name)]++
	}
	written := map[string]bool{}
	for _, name := range names {
		up := parent(name)
		switch {
		case byParent[up] <= most || !joinable(up):
			patterns = append(patterns, name)
		case !written[up]:
			written[up], widened = true, true
			patterns = append(patterns, "*."+up)
		}
	}
	return patterns, widened
}

// parent is the name without its first label.
func parent(name string) string {
	_, up, _ := strings.Cut(name, ".")
	return up
}

func joinable(up string) bool {
	if !strings.Contains(up, ".") {
		return false
	}
	suffix, _ := publicsuffix.PublicSuffix(up)
	return suffix != up
}
