package dns

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// Types whose data are fingerprints or certificates' rules, which are only written out.
const (
	typeDS     = 43
	typeSSHFP  = 44
	typeTLSA   = 52
	typeSMIMEA = 53
	typeCDS    = 59
	typeCAA    = 257
)

// appendCAA: flags, tag, and value in quotes (RFC 8659 4.1.1).
func appendCAA(to, data []byte) ([]byte, bool) {
	if len(data) < 2 || data[1] == 0 || len(data) < 2+int(data[1]) {
		return to, false
	}
	to = strconv.AppendUint(to, uint64(data[0]), 10)
	to = append(to, ' ')
	tag, value := data[2:2+data[1]], data[2+data[1]:]
	for _, b := range tag {
		to = appendEscaped(to, b, false)
	}
	to = append(to, ` "`...)
	for _, b := range value[:min(len(value), MaxText)] {
		if b == ' ' {
			to = append(to, b)
		} else {
			to = appendEscaped(to, b, false)
		}
	}
	if len(value) > MaxText {
		to = append(to, "..."...)
	}
	return append(to, '"'), true
}

// appendDigest: numbers of so many bytes each, then a digest in hex (RFC 4034 5.3, RFC
// 4255 3.2, RFC 6698 2.2).
func appendDigest(to, data []byte, sizes ...int) ([]byte, bool) {
	for _, size := range sizes {
		if len(data) <= size {
			return to, false
		}
		n := uint64(data[0])
		if size == 2 {
			n = uint64(binary.BigEndian.Uint16(data))
		}
		to = append(strconv.AppendUint(to, n, 10), ' ')
		data = data[size:]
	}
	to = hex.AppendEncode(to, data[:min(len(data), MaxText/2)])
	if len(data) > MaxText/2 {
		to = append(to, "..."...)
	}
	return to, true
}
