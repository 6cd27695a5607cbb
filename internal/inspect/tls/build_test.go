package tls

import (
	"encoding/binary"
	"slices"

	"github.com/weirnet/weir/internal/inspect/tls/hello"
)

// record is one TLS record.
func record(kind byte, payload ...byte) []byte {
	b := append([]byte{kind, 3, 3}, byte(len(payload)>>8), byte(len(payload)))
	return append(b, payload...)
}

// message is one handshake message.
func message(kind byte, body ...byte) []byte {
	return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// records cuts a handshake's bytes into records of so many bytes.
func records(payload []byte, size int) (b []byte) {
	for part := range slices.Chunk(payload, size) {
		b = append(b, record(recordHandshake, part...)...)
	}
	return b
}

func vector(b ...byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func extension(kind uint16, data ...byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, kind), vector(data...)...)
}

func nameExtension(name string) []byte {
	return extension(0, vector(append([]byte{0}, vector([]byte(name)...)...)...)...)
}

// clientHello is a message with a server name, and what else is given.
func clientHello(name string, extensions ...[]byte) []byte {
	b := append([]byte{3, 3}, make([]byte, 32)...)
	b = append(b, 0, 0, 2, 0x13, 1, 1, 0)
	return message(hello.TypeClientHello, append(b, vector(slices.Concat(append([][]byte{nameExtension(name)}, extensions...)...)...)...)...)
}

// serverHello is one of TLS 1.2, or with supported_versions of 1.3.
func serverHello(random []byte, extensions ...[]byte) []byte {
	b := append([]byte{3, 3}, append(random, make([]byte, 32-len(random))...)...)
	b = append(b, 0, 0xc0, 0x2b, 0)
	return message(hello.TypeServerHello, append(b, vector(slices.Concat(extensions...)...)...)...)
}

var tls13 = extension(43, 3, 4)

// retryRandom marks a HelloRetryRequest (RFC 8446 section 4.1.3).
var retryRandom = []byte("\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91" +
	"\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c")

// sslv2Hello is a hello in SSL 2.0's form: three suites, one of them SSL 2.0's.
func sslv2Hello() []byte {
	b := []byte{1, 3, 1, 0, 9, 0, 0, 0, 16, 0, 0, 4, 0, 0, 5, 1, 0, 0x80}
	b = append(b, make([]byte, 16)...)
	return append([]byte{0x80, byte(len(b))}, b...)
}
