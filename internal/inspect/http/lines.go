package http

import "strings"

// lines are those of a header section, without its last, empty one.
type lines struct {
	rest string
	// fold takes folded headers; strict refuses what only clients of old tolerate.
	fold, strict bool
	// ends are the forms of line end that were seen: 1 for CR LF, 2 for LF.
	ends uint8
}

func newLines(section string, fold, strict bool) lines {
	return lines{rest: section, fold: fold, strict: strict}
}

// next is the next line without its end; ok is false behind the last.
func (l *lines) next() (line string, ok bool) {
	line, rest, found := strings.Cut(l.rest, "\n")
	if !found {
		return "", false
	}
	l.rest = rest
	if n := len(line); n > 0 && line[n-1] == '\r' {
		l.ends |= 1
		line = line[:n-1]
	} else {
		l.ends |= 2
	}
	return line, line != ""
}

// field is the next header; ok is false behind the last. name is empty where why
// is not None. raw is the value with the white space around it.
func (l *lines) field() (name, raw string, folded, ok bool, why Reason) {
	line, ok := l.next()
	if !ok {
		if l.strict && l.ends == 3 {
			return "", "", false, false, MixedLineEnds
		}
		return "", "", false, false, None
	}
	name, raw, why = cutField(line, l.strict)
	if why != None {
		return "", "", false, false, why
	}
	if !l.folds() {
		return name, raw, false, true, None
	}
	if !l.fold {
		return "", "", false, false, Folding
	}
	var joined strings.Builder
	joined.WriteString(trim(raw))
	for l.folds() {
		more, _ := l.next()
		if why = checkValue(more, l.strict); why != None {
			return "", "", false, false, why
		}
		joined.WriteByte(' ')
		joined.WriteString(trim(more))
	}
	return name, joined.String(), true, true, None
}

// folds says whether the next line belongs to the one before it.
func (l *lines) folds() bool { return l.rest != "" && (l.rest[0] == ' ' || l.rest[0] == '\t') }

// cutField takes a line apart that is not folded.
func cutField(line string, strict bool) (name, raw string, why Reason) {
	if line[0] == ' ' || line[0] == '\t' {
		return "", "", Folding // of the first line, or of nothing
	}
	name, raw, found := strings.Cut(line, ":")
	switch trimmed := strings.TrimRight(name, " \t"); {
	case strings.IndexByte(line, 0) >= 0:
		return "", "", NUL
	case strings.IndexByte(line, '\r') >= 0:
		return "", "", BareCR
	case !found:
		return "", "", HeaderLine
	case len(trimmed) < len(name) && isToken(trimmed):
		return "", "", SpaceBeforeColon
	case !isToken(name):
		return "", "", HeaderName
	}
	return name, raw, checkValue(raw, strict)
}

func checkValue(value string, strict bool) Reason {
	for i := range len(value) {
		switch b := value[i]; {
		case b == 0:
			return NUL
		case b == '\r':
			return BareCR
		case strict && (b < ' ' && b != '\t' || b == 0x7f):
			return Control
		}
	}
	return None
}

// trim takes optional white space (RFC 9110 section 5.6.3) from both sides.
func trim(s string) string { return strings.Trim(s, " \t") }

var tokenBytes = func() (t [256]bool) {
	for b := byte('0'); b <= 'z'; b++ {
		t[b] = b <= '9' || b >= 'a' || b >= 'A' && b <= 'Z'
	}
	for _, b := range []byte("!#$%&'*+-.^_`|~") {
		t[b] = true
	}
	return t
}()

// isToken is RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenBytes[s[i]] {
			return false
		}
	}
	return s != ""
}

// equalFold compares with a name in lower case, ASCII only: unlike strings.EqualFold
// it does not take a Kelvin sign for a k.
func equalFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		b := s[i]
		if b >= 'A' && b <= 'Z' {
			b |= 0x20
		}
		if b != lower[i] {
			return false
		}
	}
	return true
}
