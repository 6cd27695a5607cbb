package hello

import (
	"crypto/md5"
	"encoding/hex"
	"strconv"
)

// JA3 is the fingerprint by Salesforce's specification, and the text it is the MD5
// of. Of a hello in SSL 2.0's form it is empty: tools differ, since it has no
// extensions to speak of.
func (h *Client) JA3() (hash, text string) {
	if h.SSLv2 {
		return "", ""
	}
	b := strconv.AppendUint(make([]byte, 0, 256), uint64(h.Version), 10)
	b = appendDecimal(append(b, ','), h.Ciphers)
	b = appendDecimal(append(b, ','), h.Extensions)
	b = appendDecimal(append(b, ','), h.Groups)
	b = append(b, ',')
	for i, f := range h.PointFormats {
		if i > 0 {
			b = append(b, '-')
		}
		b = strconv.AppendUint(b, uint64(f), 10)
	}
	return md5Of(b), string(b)
}

// JA3S is the fingerprint of the answer.
func (h *Server) JA3S() (hash, text string) {
	b := strconv.AppendUint(make([]byte, 0, 64), uint64(h.LegacyVersion), 10)
	b = strconv.AppendUint(append(b, ','), uint64(h.Cipher), 10)
	b = appendDecimal(append(b, ','), h.Extensions)
	return md5Of(b), string(b)
}

func appendDecimal(b []byte, numbers []uint16) []byte {
	first := true
	for _, n := range numbers {
		if isGREASE(n) {
			continue
		}
		if !first {
			b = append(b, '-')
		}
		first = false
		b = strconv.AppendUint(b, uint64(n), 10)
	}
	return b
}

func md5Of(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}
