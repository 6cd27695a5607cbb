package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// PathSet is a set of HTTP paths by patterns. Paths are compared in the form
// that NormalizePath gives.
type PathSet struct {
	exact    map[string]struct{}
	patterns []*regexp.Regexp
}

// Match says whether the normalized path is in the set.
func (s *PathSet) Match(path string) bool {
	if _, ok := s.exact[path]; ok {
		return true
	}
	return slices.ContainsFunc(s.patterns, func(re *regexp.Regexp) bool { return re.MatchString(path) })
}

// PathFact is the path of a request as a fact: its target without the query.
func PathFact(target string) Fact[string] {
	path, err := NormalizePath(target)
	if err != nil {
		return Lost[string](Malformed)
	}
	return Is(path)
}

// What makes a path malformed: servers and proxies disagree about what it means,
// so a path in one of these forms may be read as one that a rule forbids.
var (
	errPathStart     = errors.New("does not begin with a slash")
	errPathControl   = errors.New("has a control character")
	errPathBackslash = errors.New("has a backslash")
	errPathEscape    = errors.New("has a percent sign without two hex digits")
	errPathSeparator = errors.New("has an encoded separator")
	errPathDouble    = errors.New("is encoded twice")
	errPathOverlong  = errors.New("has an overlong UTF-8 sequence")
	errPathSemicolon = errors.New("has a parameter in a dot segment")
)

// NormalizePath is the form in which paths are compared: the query left out,
// unreserved characters decoded (RFC 3986 section 6.2.2), other escapes in upper
// case, bytes beyond ASCII escaped, dot segments removed. The error says that
// the path is malformed for criteria.
func NormalizePath(target string) (string, error) {
	if i := strings.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	switch {
	case target == "":
		return "/", nil
	case target == "*": // OPTIONS * is about the server itself
		return target, nil
	case target[0] != '/':
		return "", errPathStart
	}
	if isPlainPath(target) {
		return target, nil
	}
	decoded, err := decodePath(target)
	if err != nil {
		return "", err
	}
	return removeDots(decoded)
}

// isPlainPath finds the paths that are in normal form, without a copy.
func isPlainPath(s string) bool {
	for i := range len(s) {
		b := s[i]
		if b <= ' ' || b >= 0x7f || b == '%' || b == '\\' || b == '.' && s[i-1] == '/' {
			return false
		}
	}
	return true
}

func decodePath(s string) (string, error) {
	var out strings.Builder
	out.Grow(len(s))
	var previous byte
	for i := 0; i < len(s); i++ {
		b := s[i]
		escaped := b == '%'
		if escaped {
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return "", errPathEscape
			}
			b = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		switch {
		case b == 0 || b == 0x7f || !escaped && b < ' ':
			return "", errPathControl
		case b == '\\':
			return "", errPathBackslash
		case b == '/' && escaped:
			return "", errPathSeparator
		// Bytes that only an overlong form of an ASCII character has: old decoders
		// take them for a dot or a slash.
		case b == 0xc0 || b == 0xc1, previous == 0xe0 && b >= 0x80 && b < 0xa0, previous == 0xf0 && b >= 0x80 && b < 0x90:
			return "", errPathOverlong
		case escaped && !isUnreserved(b), b >= 0x80, b == ' ':
			fmt.Fprintf(&out, "%%%02X", b)
		default:
			out.WriteByte(b)
		}
		previous = b
	}
	decoded := out.String()
	// A percent sign that was encoded, and then what makes an escape of it.
	for rest := decoded; ; {
		_, after, found := strings.Cut(rest, "%25")
		if !found {
			return decoded, nil
		}
		if len(after) >= 2 && isHex(after[0]) && isHex(after[1]) {
			return "", errPathDouble
		}
		rest = after
	}
}

// removeDots is RFC 3986 section 5.2.4 on a path that begins with a slash.
func removeDots(path string) (string, error) {
	var kept []string
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		switch {
		case isDotWithParameter(segment):
			return "", errPathSemicolon
		case segment == ".":
			if last {
				kept = append(kept, "")
			}
		case segment == "..":
			kept = kept[:max(len(kept)-1, 0)]
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/"), nil
}

// isDotWithParameter finds "..;x", which some servers take for "..".
func isDotWithParameter(segment string) bool {
	rest := strings.TrimPrefix(strings.TrimPrefix(segment, "."), ".")
	return len(rest) < len(segment) && (strings.HasPrefix(rest, ";") || strings.HasPrefix(rest, "%3B"))
}

func isUnreserved(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("-._~", b) >= 0
}

func isHex(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F'
}

func unhex(b byte) byte {
	switch {
	case b <= '9':
		return b - '0'
	case b >= 'a':
		return b - 'a' + 10
	}
	return b - 'A' + 10
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
		if found, hint := s.add(text); found != "" {
			at.fail(found, acceptedPath, hint)
		}
	})
	return s
}

func (s *PathSet) add(pattern string) (found, hint string) {
	if len(pattern) > maxPattern {
		return fmt.Sprintf("a pattern of %d bytes", len(pattern)), fmt.Sprintf("patterns have at most %d", maxPattern)
	}
	if expression, isRE := strings.CutPrefix(pattern, "~"); isRE {
		re, err := regexp.Compile(expression)
		if err != nil {
			return quote(pattern) + " is not an RE2 expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: "), ""
		}
		s.patterns = append(s.patterns, re)
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
		s.exact[path] = struct{}{}
		return "", ""
	}
	if pattern == "*" {
		pattern = "**"
	}
	normal, err := normalGlob(pattern)
	if err != nil {
		return quote(pattern) + " " + err.Error() + ": requests with such a path are malformed", ""
	}
	s.patterns = append(s.patterns, regexp.MustCompile(globExpression(normal)))
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
