package dns

import "bytes"

// Name is a name inside a message, possibly compressed. It is valid as long as
// the message's bytes are.
type Name struct {
	msg []byte
	at  int
}

// readName checks the name at `at` and returns where, in its own place, it ends.
// A pointer has to point before the beginning of the labels that it ends, as
// those of every known writer do: then no chain of them can loop.
func readName(msg []byte, at int) (end int, problem Problem) {
	low, length, pointers := at, 0, 0
	for at < len(msg) {
		b := int(msg[at])
		switch b & 0xc0 {
		case 0:
			if length += b + 1; length > maxName {
				return 0, LongName
			}
			at += b + 1
			if b != 0 {
				continue
			}
			if end == 0 {
				end = at
			}
			return end, None
		case 0xc0:
			if at+1 >= len(msg) {
				return 0, Short
			}
			if end == 0 {
				end = at + 2
			}
			at = (b&0x3f)<<8 | int(msg[at+1])
			if at >= low || at < headerBytes {
				return 0, BadPtr
			}
			if pointers++; pointers > maxPointers {
				return 0, ManyPtrs
			}
			low = at
		default:
			return 0, BadLabel
		}
	}
	return 0, Short
}

// next is the label at `at`, and where the one after it is. The root's has no
// bytes.
func (n Name) next(at int) (label []byte, after int) {
	for at < len(n.msg) && n.msg[at] >= 0xc0 {
		at = int(n.msg[at]&0x3f)<<8 | int(n.msg[at+1])
	}
	if at >= len(n.msg) {
		return nil, at // the zero Name is the root
	}
	b := int(n.msg[at])
	return n.msg[at+1 : at+1+b], at + 1 + b
}

// IsRoot says whether the name is the root's.
func (n Name) IsRoot() bool {
	label, _ := n.next(n.at)
	return len(label) == 0
}

// Equal compares two names as DNS does: the case of ASCII letters does not matter
// (RFC 4343).
func (n Name) Equal(o Name) bool {
	a, b := n.at, o.at
	for {
		var x, y []byte
		x, a = n.next(a)
		y, b = o.next(b)
		if len(x) != len(y) {
			return false
		}
		if len(x) == 0 {
			return true
		}
		if !bytes.Equal(x, y) {
			for i := range x {
				if lower(x[i]) != lower(y[i]) {
					return false
				}
			}
		}
	}
}

func lower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		b += 'a' - 'A'
	}
	return b
}

// AppendText appends the name without its last dot, as it was sent; the root is
// ".". What could be mistaken is escaped: dots, quotes and backslashes inside a
// label by a backslash, bytes that are no visible ASCII character as \DDD.
func (n Name) AppendText(to []byte) []byte { return n.append(to, false) }

// AppendFolded is AppendText in lower case: for comparison.
func (n Name) AppendFolded(to []byte) []byte { return n.append(to, true) }

// String is AppendText's.
func (n Name) String() string { return string(n.AppendText(nil)) }

func (n Name) append(to []byte, fold bool) []byte {
	label, at := n.next(n.at)
	if len(label) == 0 {
		return append(to, '.')
	}
	for {
		for _, b := range label {
			if fold {
				b = lower(b)
			}
			to = appendEscaped(to, b, b == '.')
		}
		if label, at = n.next(at); len(label) == 0 {
			return to
		}
		to = append(to, '.')
	}
}

// appendEscaped appends a byte in the way of master files (RFC 1035 5.1).
func appendEscaped(to []byte, b byte, special bool) []byte {
	switch {
	case special, b == '"', b == '\\':
		return append(to, '\\', b)
	case b <= ' ', b >= 0x7f:
		return append(to, '\\', '0'+b/100, '0'+b/10%10, '0'+b%10)
	}
	return append(to, b)
}

// appendWire appends the name without compression: at most 255 bytes.
func (n Name) appendWire(to []byte) []byte {
	for at := n.at; ; {
		var label []byte
		label, at = n.next(at)
		to = append(to, byte(len(label)))
		if len(label) == 0 {
			return to
		}
		to = append(to, label...)
	}
}
