package policy

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// PathSet is a set of HTTP paths by patterns. Paths are compared in the form
// that NormalizePath gives.
type PathSet struct {
	exact    map[string]struct{}
	patterns []pathPattern
}

// pathPattern begins with a prefix, by which most paths are told from it in no time.
// segments are the whole ones in it; "" where there are none.
type pathPattern struct {
	prefix, segments string
	re               *regexp.Regexp
}

func (p pathPattern) match(path string) bool {
	return strings.HasPrefix(path, p.prefix) && p.re.MatchString(path)
}

// Match says whether the normalized path is in the set.
func (s *PathSet) Match(path string) bool {
	if _, ok := s.exact[path]; ok {
		return true
	}
	return slices.ContainsFunc(s.patterns, func(p pathPattern) bool { return p.match(path) })
}

const (
	acceptedPath = "a path /v1/items, with * within a segment and ** across, or ~ and an RE2 expression"
	// maxPattern bounds the time and memory that a pattern can take.
	maxPattern = 4096
)

// paths reads a list of path patterns.
func (c *cursor) paths() *PathSet {
	s := &PathSet{}
	c.list(acceptedPath, func(at *cursor) {
		text, ok := at.text(acceptedPath)
		if !ok {
			return
		}
		if !at.countInstructions(text) {
			return
		}
		if found, hint := s.add(text); found != "" {
			at.fail(found, acceptedPath, hint)
		}
	})
	return s
}

// countInstructions adds to the expressions of the policy and says whether they
// may be so large. What is no expression costs nothing, nor does a wrong one.
func (c *cursor) countInstructions(pattern string) bool {
	expression, isRE := strings.CutPrefix(pattern, "~")
	if !isRE || len(pattern) > maxPattern {
		return true
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return true
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return true
	}
	before := c.d.instructions
	c.d.instructions += len(program.Inst)
	if c.d.instructions <= maxInstructions {
		return true
	}
	if before <= maxInstructions {
		c.fail(fmt.Sprintf("the expressions of this policy come to more than %d instructions", maxInstructions), "", "repeat less within an expression")
	}
	return false
}

func (s *PathSet) add(pattern string) (found, hint string) {
	if len(pattern) > maxPattern {
		return fmt.Sprintf("a pattern of %d bytes", len(pattern)), fmt.Sprintf("patterns have at most %d", maxPattern)
	}
	if expression, isRE := strings.CutPrefix(pattern, "~"); isRE {
		re, err := regexp.Compile(strings.Clone(expression))
		if err != nil {
			return quote(pattern) + " is not an RE2 expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: "), ""
		}
		s.patterns = append(s.patterns, pathPattern{re: re})
		return "", ""
	}
	switch {
	case strings.ContainsAny(pattern, "?#"):
		return quote(pattern) + " has a query or a fragment", "paths are compared without their query"
	case pattern == "*":
	case pattern == "" || pattern[0] != '/' && !strings.HasPrefix(pattern, "**"):
		return quote(pattern) + " does not begin with a slash", "did you mean \"/" + pattern + "\"?"
	}
	if !strings.Contains(pattern, "*") {
		path, err := NormalizePath(pattern)
		if err != nil {
			return quote(pattern) + " " + err.Error() + ": requests with such a path are malformed", ""
		}
		if s.exact == nil {
			s.exact = map[string]struct{}{}
		}
		s.exact[strings.Clone(path)] = struct{}{}
		return "", ""
	}
	if pattern == "*" {
		pattern = "**"
	}
	normal, err := normalGlob(pattern)
	if err != nil {
		return quote(pattern) + " " + err.Error() + ": requests with such a path are malformed", ""
	}
	prefix, rest, _ := strings.Cut(normal, "*")
	segments := prefix[:max(strings.LastIndexByte(prefix, '/'), 0)]
	if strings.HasPrefix(rest, "*") {
		prefix = strings.TrimSuffix(prefix, "/") // globExpression
	}
	s.patterns = append(s.patterns, pathPattern{strings.Clone(prefix), strings.Clone(segments), regexp.MustCompile(globExpression(normal))})
	return "", ""
}

// normalGlob brings a pattern into the form that paths are compared in.
func normalGlob(pattern string) (string, error) {
	if pattern[0] != '/' {
		rest, err := normalGlob("/" + pattern)
		return strings.TrimPrefix(rest, "/"), err
	}
	return NormalizePath(pattern)
}

// globExpression: "/**" is also the path without it, as /v1/** is /v1.
func globExpression(glob string) string {
	var b strings.Builder
	b.WriteString(`\A`)
	for glob != "" {
		switch {
		case strings.HasPrefix(glob, "/**/") || glob == "/**":
			b.WriteString(`(?:/.*)?`)
			glob = glob[3:]
		case strings.HasPrefix(glob, "**"):
			b.WriteString(`.*`)
			glob = glob[2:]
		case glob[0] == '*':
			b.WriteString(`[^/]*`)
			glob = glob[1:]
		default:
			end := strings.IndexAny(glob[1:], "*/") + 1
			if end == 0 {
				end = len(glob)
			}
			b.WriteString(regexp.QuoteMeta(glob[:end]))
			glob = glob[end:]
		}
	}
	b.WriteString(`\z`)
	return b.String()
}
