package policy

import (
	"slices"
	"strings"
)

// TextSet is a set of texts by patterns, in which "*" stands for any run of
// characters, an empty one as well; "**" means the same.
type TextSet struct {
	// fold: case does not matter.
	fold     bool
	exact    map[string]struct{}
	patterns [][]string
}

// Match says whether the text is in the set.
func (s *TextSet) Match(text string) bool {
	if s.fold {
		text = strings.ToLower(text)
	}
	if _, ok := s.exact[text]; ok {
		return true
	}
	return slices.ContainsFunc(s.patterns, func(p []string) bool { return matchPieces(p, text) })
}

// MatchAny says whether one of the texts is in the set.
func (s *TextSet) MatchAny(texts []string) bool { return slices.ContainsFunc(texts, s.Match) }

// matchPieces matches the pieces between wildcards: the first begins the text,
// the last ends it, and those between follow each other at their first place.
func matchPieces(pieces []string, text string) bool {
	text, ok := strings.CutPrefix(text, pieces[0])
	if !ok {
		return false
	}
	last := len(pieces) - 1
	text, ok = strings.CutSuffix(text, pieces[last])
	if !ok {
		return false
	}
	for _, piece := range pieces[1:last] {
		_, after, found := strings.Cut(text, piece)
		if !found {
			return false
		}
		text = after
	}
	return true
}

func (s *TextSet) add(pattern string) {
	if s.fold {
		pattern = strings.ToLower(pattern)
	}
	pattern = strings.Clone(pattern)
	if !strings.Contains(pattern, "*") {
		if s.exact == nil {
			s.exact = map[string]struct{}{}
		}
		s.exact[pattern] = struct{}{}
		return
	}
	s.patterns = append(s.patterns, strings.Split(pattern, "*"))
}

// texts reads a list of texts.
func (c *cursor) texts(fold bool, accepted string) *TextSet {
	s := &TextSet{fold: fold}
	c.list(accepted, func(at *cursor) {
		text, ok := at.text(accepted)
		switch {
		case !ok:
		case strings.HasPrefix(text, "!"):
			at.fail(quote(text)+" looks like an exception", accepted, "only lists of addresses and names have exceptions: write a rule before this one")
		case strings.HasPrefix(text, "group:"):
			at.fail(quote(text)+" looks like a group", accepted, "only lists of addresses and names have groups")
		default:
			s.add(text)
		}
	})
	return s
}
