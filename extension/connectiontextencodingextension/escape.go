package connectiontextencodingextension

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// appendEscaped appends s so that it stays one line and does nothing to a
// terminal. A body quotes what strangers sent (host names, paths), and a terminal
// that is shown their escape sequences, C1 controls or direction marks would
// move its cursor, change its title or show a name backwards. So whatever is not
// a visible character or a plain space is written as Go's string literals write
// it; a backslash is doubled so that no text can pass for an escape.
func appendEscaped(out []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\\':
			out = append(out, `\\`...)
		case r == utf8.RuneError && size == 1:
			out = fmt.Appendf(out, `\x%02x`, s[i])
		case strconv.IsPrint(r):
			out = append(out, s[i:i+size]...)
		default:
			quoted := strconv.QuoteRune(r)
			out = append(out, quoted[1:len(quoted)-1]...)
		}
		i += size
	}
	return out
}
