package telemetry

import (
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// clean returns s as it may stand in an attribute or a line. Interface names
// come from whoever may create interfaces, details of policy errors quote
// files: control characters would forge lines or drive a terminal, and invalid
// UTF-8 makes exporters refuse the whole batch.
func clean(s string) string {
	if isPlain(s) {
		return s
	}
	return cleanSlow(s)
}

// isPlain says whether s is printable ASCII.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= utf8.RuneSelf-1 {
			return false
		}
	}
	return true
}

func cleanSlow(s string) string {
	out := make([]byte, 0, len(s)+8)
	for len(s) > 0 {
		var size int
		out, size = appendCleanRune(out, s)
		s = s[size:]
	}
	return string(out)
}

// appendCleanRune writes the first rune of s as it may stand in a line; size is
// how many bytes of s it has.
func appendCleanRune(out []byte, s string) (written []byte, size int) {
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case r == utf8.RuneError && size == 1:
		out = append(out, `\x`...)
		return append(out, "0123456789abcdef"[s[0]>>4], "0123456789abcdef"[s[0]&15]), size
	case !unicode.IsPrint(r):
		quoted := strconv.AppendQuoteRuneToASCII(nil, r)
		return append(out, quoted[1:len(quoted)-1]...), size
	}
	return append(out, s[:size]...), size
}

// appendBytes writes a number of bytes with a decimal unit: "45 kB".
func appendBytes(line []byte, n uint64) []byte {
	const units = "kMGTPE"
	if n < 1000 {
		line = strconv.AppendUint(line, n, 10)
		return append(line, " B"...)
	}
	value, unit := float64(n)/1000, 0
	// 999.5 would be written "1000".
	for value >= 999.5 && unit < len(units)-1 {
		value /= 1000
		unit++
	}
	precision := 0
	if value < 9.95 {
		precision = 1
	}
	line = strconv.AppendFloat(line, value, 'f', precision, 64)
	return append(line, ' ', units[unit], 'B')
}

// appendDuration writes a duration to three digits or so: "1.2s", "35ms".
func appendDuration(line []byte, d time.Duration) []byte {
	switch {
	case d >= time.Minute:
		d = d.Round(time.Second)
	case d >= 10*time.Second:
		d = d.Round(100 * time.Millisecond)
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(100 * time.Microsecond)
	default:
		d = d.Round(time.Microsecond)
	}
	return append(line, d.String()...)
}
