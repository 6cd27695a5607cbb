package policy

import (
	"errors"
	"fmt"
	"strings"
)

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
