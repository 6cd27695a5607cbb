package hello

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
)

// Transport is JA4's first letter.
type Transport byte

// What carries the hello.
const (
	OverTCP  Transport = 't'
	OverQUIC Transport = 'q'
)

// JA4 is the client's fingerprint by FoxIO's specification of JA4 (BSD 3-Clause;
// the other methods of the family bear another license). Of a hello in SSL 2.0's
// form it is empty.
func (h *Client) JA4(over Transport) string {
	if h.SSLv2 {
		return ""
	}
	ciphers, extensions := withoutGREASE(h.Ciphers), withoutGREASE(h.Extensions)
	b := append(make([]byte, 0, 64), byte(over))
	b = append(b, h.ja4Version()...)
	if slices.Contains(extensions, extServerName) {
		b = append(b, 'd')
	} else {
		b = append(b, 'i')
	}
	b = appendCount(appendCount(b, len(ciphers)), len(extensions))
	b = append(b, h.ja4ALPN()...)

	slices.Sort(ciphers)
	b = append(b, '_')
	b = appendSum(b, appendHex(nil, ciphers))

	extensions = slices.DeleteFunc(extensions, func(n uint16) bool { return n == extServerName || n == extALPN })
	slices.Sort(extensions)
	text := appendHex(nil, extensions)
	if signatures := withoutGREASE(h.SignatureAlgorithms); len(signatures) > 0 {
		text = appendHex(append(text, '_'), signatures)
	}
	b = append(b, '_')
	return string(appendSum(b, text))
}

func (h *Client) ja4Version() string {
	version := h.Version
	if offered := withoutGREASE(h.Versions); len(offered) > 0 {
		version = slices.Max(offered)
	}
	switch version {
	case TLS13:
		return "13"
	case TLS12:
		return "12"
	case TLS11:
		return "11"
	case TLS10:
		return "10"
	case SSL30:
		return "s3"
	case SSL20:
		return "s2"
	}
	return "00"
}

// ja4ALPN is the first and the last character of the first protocol, or of its hex
// form where one of them is neither letter nor digit.
func (h *Client) ja4ALPN() string {
	if len(h.ALPN) == 0 || h.ALPN[0] == "" {
		return "00"
	}
	name := h.ALPN[0]
	first, last := name[0], name[len(name)-1]
	if isAlphanumeric(first) && isAlphanumeric(last) {
		return string([]byte{first, last})
	}
	const digits = "0123456789abcdef"
	return string([]byte{digits[first>>4], digits[last&15]})
}

func isAlphanumeric(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z'
}

func withoutGREASE(numbers []uint16) []uint16 {
	return slices.DeleteFunc(slices.Clone(numbers), isGREASE)
}

func appendCount(b []byte, n int) []byte {
	if n = min(n, 99); n < 10 {
		b = append(b, '0')
	}
	return strconv.AppendInt(b, int64(n), 10)
}

func appendHex(b []byte, numbers []uint16) []byte {
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = hex.AppendEncode(b, []byte{byte(n >> 8), byte(n)})
	}
	return b
}

// appendSum appends the first 12 digits of the sum of text, zeros where there is
// none.
func appendSum(b, text []byte) []byte {
	if len(text) == 0 {
		return append(b, "000000000000"...)
	}
	sum := sha256.Sum256(text)
	return hex.AppendEncode(b, sum[:6])
}
