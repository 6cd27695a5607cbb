package http

import "bytes"

// Match says whether bytes are HTTP.
type Match uint8

// The matches.
const (
	No Match = iota
	Yes
	More // not to be told yet
)

// DetectBytes is how many bytes Detect wants at most: with as many it says yes or
// no.
const DetectBytes = 4096

const (
	maxEmpty  = 64 // bytes of white space before a request
	maxMethod = 64
)

// methods are those that servers know without being told of others. HTTP/0.9 has
// only the first.
var methods = [...]string{
	"get", "post", "head", "put", "delete", "options", "connect", "patch", "trace", "propfind", "proppatch", "mkcol",
	"copy", "move", "lock", "unlock", "report", "search", "purge", "query",
}

// Detect says whether an initiator's first bytes are HTTP, in a form that some
// server takes: what the parser then finds malformed is HTTP all the same.
func Detect(data []byte) Match {
	if n := min(len(data), len(preface)); n > 0 && string(data[:n]) == preface[:n] {
		if n == len(preface) {
			return Yes
		}
		return More
	}
	rest := bytes.TrimLeft(data[:min(len(data), maxEmpty)], "\r\n \t")
	if len(rest) == 0 {
		if len(data) >= maxEmpty {
			return No
		}
		return More
	}
	data = data[:min(len(data), DetectBytes)]
	whole := len(data) == DetectBytes
	line := data[min(len(data), maxEmpty)-len(rest):]
	if len(data) < maxEmpty {
		line = rest
	}
	line, _, ended := bytes.Cut(line, []byte{'\n'})
	ended = ended || whole

	n := 0 // of the method
	for n < len(line) && line[n] > ' ' && line[n] < 0x7f {
		n++
	}
	known := knownMethod(line)
	switch {
	case n == 0, n > maxMethod:
		return No
	case n == len(line) && !ended:
		return More
	case n < len(line) && !isSpace(line[n]) && known == 0:
		return No // a byte that is in no text
	}
	if hasVersion(line) {
		return Yes
	}
	if known > 0 && known < len(line) {
		// A method, then white space or what some server takes for it, then a path.
		target := bytes.TrimLeft(line[known:], " \t\v\f\r\x00")
		switch {
		case len(target) < len(line)-known && len(target) > 0 && target[0] == '/':
			return Yes
		case len(target) < len(line)-known && hasScheme(target):
			return Yes
		}
	}
	if !ended {
		return More
	}
	// A method that nobody knows, and a path that is too long to see its end.
	if whole && n < len(line) && line[n] == ' ' && n+1 < len(line) && line[n+1] == '/' {
		return Yes
	}
	return No
}

// knownMethod is the length of the method that a line begins with, in any case; 0
// for another.
func knownMethod(line []byte) int {
	for _, m := range methods {
		if len(line) >= len(m) && equalFold(string(line[:len(m)]), m) && (len(line) == len(m) || !tokenBytes[line[len(m)]]) {
			return len(m)
		}
	}
	return 0
}

func isSpace(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

// hasVersion finds HTTP/ behind white space, in any case.
func hasVersion(line []byte) bool {
	for i := 1; i+5 <= len(line); i++ {
		if line[i+4] == '/' && (isSpace(line[i-1]) || line[i-1] == 0) && equalFold(string(line[i:i+4]), "http") {
			return true
		}
	}
	return false
}

func hasScheme(target []byte) bool {
	return len(target) >= 7 && equalFold(string(target[:7]), "http://") || len(target) >= 8 && equalFold(string(target[:8]), "https://")
}
