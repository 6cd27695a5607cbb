package tls

import (
	"fmt"
	"slices"
	"testing"
)

// score counts by field what is equal, and the others by class.
type score struct {
	t      *testing.T
	fields map[string][2]int
	misses map[string]int
}

func newScore(t *testing.T) *score {
	return &score{t: t, fields: map[string][2]int{}, misses: map[string]int{}}
}

// compare counts a field of a file. Whatever is not equal must be of a class that
// explained knows.
func (s *score) compare(file, field string, got, want any, explained map[string]string) {
	n := s.fields[field]
	n[1]++
	if fmt.Sprint(got) == fmt.Sprint(want) {
		n[0]++
	} else if class := explained[file+" "+field]; class != "" {
		s.misses[class]++
	} else if class := explained[file]; class != "" {
		s.misses[class]++
	} else {
		s.t.Errorf("%s: %s is %v, not %v", file, field, got, want)
	}
	s.fields[field] = n
}

func (s *score) report() {
	for _, field := range slices.Sorted(func(yield func(string) bool) {
		for f := range s.fields {
			if !yield(f) {
				return
			}
		}
	}) {
		s.t.Logf("%-28s %d of %d", field, s.fields[field][0], s.fields[field][1])
	}
	for class, n := range s.misses {
		s.t.Logf("not equal, %d: %s", n, class)
	}
}
