package quic

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
)

// Versions whose Initial packets can be read.
const (
	Version1 uint32 = 0x00000001
	Version2 uint32 = 0x6b3343cf
	// Drafts before 33 had other salts; those below 27 are of no use to anyone.
	firstDraft, lastDraft  uint32 = 0xff00001b, 0xff000022
	saltOfDraft29          uint32 = 0xff00001d
	saltOfVersion1InDrafts uint32 = 0xff000021
)

// Salts of Initial keys: RFC 9001 section 5.2, RFC 9369 section 3.3.1, and those of
// drafts 29 to 32 and 23 to 28.
const (
	salt1       = "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"
	salt2       = "\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9"
	saltDraft29 = "\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99"
	saltDraft27 = "\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02"
)

// saltOf is empty for a version that is not known.
func saltOf(version uint32) string {
	switch {
	case version == Version1:
		return salt1
	case version == Version2:
		return salt2
	case version < firstDraft || version > lastDraft:
		return ""
	case version >= saltOfVersion1InDrafts:
		return salt1
	case version >= saltOfDraft29:
		return saltDraft29
	}
	return saltDraft27
}

// keys protect the Initial packets of one end. They keep nothing secret: whoever
// sees the packet can make them.
type keys struct {
	aead   cipher.AEAD
	header cipher.Block
	iv     [12]byte
}

// keySet are those of both ends, made of a version and of the connection id that the
// client's first packet bore.
type keySet struct {
	version uint32
	id      [maxConnectionID]byte
	idLen   int
	ends    [2]keys
}

func (s *keySet) connectionID() []byte { return s.id[:s.idLen] }

// newKeySet derives keys (RFC 9001 section 5.2).
func newKeySet(version uint32, id []byte) (*keySet, error) {
	s := &keySet{version: version, idLen: len(id)}
	copy(s.id[:], id)
	initial, err := hkdf.Extract(sha256.New, id, []byte(saltOf(version)))
	if err != nil {
		return nil, err
	}
	label := "quic "
	if version == Version2 {
		label = "quicv2 "
	}
	for end, in := range [...]string{Client: "client in", Server: "server in"} {
		secret, err := expandLabel(initial, in, sha256.Size)
		if err != nil {
			return nil, err
		}
		if s.ends[end], err = newKeys(secret, label); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func newKeys(secret []byte, label string) (k keys, err error) {
	var key, iv, header []byte
	if key, err = expandLabel(secret, label+"key", 16); err != nil {
		return k, err
	}
	if iv, err = expandLabel(secret, label+"iv", len(k.iv)); err != nil {
		return k, err
	}
	if header, err = expandLabel(secret, label+"hp", 16); err != nil {
		return k, err
	}
	copy(k.iv[:], iv)
	block, err := aes.NewCipher(key)
	if err != nil {
		return k, err
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return k, err
	}
	k.header, err = aes.NewCipher(header)
	return k, err
}

// expandLabel is HKDF-Expand-Label of RFC 8446 section 7.1, without a context.
func expandLabel(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	return hkdf.Expand(sha256.New, secret, string([]byte{byte(n >> 8), byte(n), byte(len(label))})+label+"\x00", n)
}

const sampleLength = 16

// open removes the protection of a packet (RFC 9001 section 5.4): number is where
// its packet number begins, which is at most four bytes long. What is returned lies
// in plain's storage; the packet is left as it is. The header as it was before
// protection is made in scratch.
func (k *keys) open(plain, scratch, packet []byte, number int, largest int64) (payload, header []byte, packetNumber int64, ok bool) {
	if len(packet) < number+4+sampleLength {
		return nil, scratch, 0, false
	}
	var mask [aes.BlockSize]byte
	k.header.Encrypt(mask[:], packet[number+4:number+4+sampleLength])
	first := packet[0] ^ mask[0]&0x0f
	length := int(first&3) + 1
	header = append(scratch[:0], packet[:number+length]...)
	header[0] = first
	var truncated int64
	for i := range length {
		header[number+i] ^= mask[1+i]
		truncated = truncated<<8 | int64(header[number+i])
	}
	packetNumber = fullNumber(truncated, length, largest)
	nonce := k.iv
	for i := range 8 {
		nonce[len(nonce)-1-i] ^= byte(packetNumber >> (8 * i))
	}
	payload, err := k.aead.Open(plain[:0], nonce[:], packet[number+length:], header)
	return payload, header, packetNumber, err == nil
}

// fullNumber is the packet number nearest to the one that is expected (RFC 9000
// appendix A.3); largest is the largest so far, -1 before the first.
func fullNumber(truncated int64, length int, largest int64) int64 {
	window := int64(1) << (8 * length)
	expected := largest + 1
	candidate := expected&^(window-1) | truncated
	switch {
	case candidate <= expected-window/2 && candidate < 1<<62-window:
		return candidate + window
	case candidate > expected+window/2 && candidate >= window:
		return candidate - window
	}
	return candidate
}
