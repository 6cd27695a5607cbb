package http

import "encoding/hex"

// Traceparent is the header of that name (W3C Trace Context, level 1).
type Traceparent struct {
	// Valid says whether there was one that can be used.
	Valid    bool
	TraceID  [16]byte
	ParentID [8]byte
	// Flags: bit 0 is sampled.
	Flags byte
}

// traceField is a header that is valid only once.
type traceField struct {
	text  string
	count int
}

func (t *traceField) add(value string) { t.text, t.count = value, t.count+1 }

func (t *traceField) value() Traceparent {
	if t.count != 1 {
		return Traceparent{}
	}
	return parseTraceparent(t.text)
}

// parseTraceparent gives the zero value for what is not valid, as if it were not
// there. A later version may go on after a dash (section 3.2.4).
func parseTraceparent(s string) (t Traceparent) {
	const size = 55 // 00-<32>-<16>-<2>
	if len(s) < size || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return Traceparent{}
	}
	var version, flags [1]byte
	ok := lowerHex(version[:], s[:2]) && lowerHex(t.TraceID[:], s[3:35]) && lowerHex(t.ParentID[:], s[36:52]) && lowerHex(flags[:], s[53:55])
	switch {
	case !ok, version[0] == 0xff, t.TraceID == [16]byte{}, t.ParentID == [8]byte{}:
		return Traceparent{}
	case len(s) > size && (version[0] == 0 || s[size] != '-'):
		return Traceparent{}
	}
	t.Valid, t.Flags = true, flags[0]
	return t
}

// lowerHex decodes hexadecimal digits, of which capitals are not valid.
func lowerHex(to []byte, s string) bool {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(to, []byte(s))
	return err == nil
}
