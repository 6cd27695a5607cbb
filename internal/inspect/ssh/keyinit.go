package ssh

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/weirnet/weir/internal/policy"
)

// lists are the name-lists of a KEXINIT (RFC 4253 section 7.1): what has a sender
// is by End.
type lists struct {
	kex, hostKey             []byte
	cipher, mac, compression [2][]byte
}

// parseLists reads them from the payload.
func parseLists(payload []byte) (l lists, ok bool) {
	const before = 17 // type, cookie
	if len(payload) < before {
		return l, false
	}
	rest := payload[before:]
	for _, list := range [...]*[]byte{
		&l.kex, &l.hostKey, &l.cipher[Client], &l.cipher[Server], &l.mac[Client], &l.mac[Server],
		&l.compression[Client], &l.compression[Server],
	} {
		if *list, rest, ok = str(rest); !ok {
			return l, false
		}
		for _, b := range *list {
			if b <= ' ' || b >= 0x7f {
				return l, false // not a name (RFC 4251 section 6)
			}
		}
	}
	return l, true
}

// str takes a string off (RFC 4251 section 5).
func str(data []byte) (s, rest []byte, ok bool) {
	if len(data) < 4 {
		return nil, nil, false
	}
	n := uint64(binary.BigEndian.Uint32(data))
	if n > uint64(len(data)-4) {
		return nil, nil, false
	}
	return data[4 : 4+n], data[4+n:], true
}

// hassh is the fingerprint of an offer: MD5 over its lists of key exchanges, and
// of ciphers, MACs and compressions for what the end sends, with semicolons
// between (github.com/salesforce/hassh).
func (l *lists) hassh(end End) string {
	parts := [...][]byte{l.kex, l.cipher[end], l.mac[end], l.compression[end]}
	sum := md5.Sum(bytes.Join(parts[:], []byte(";")))
	return hex.EncodeToString(sum[:])
}

// keyInit reads an offer, and what was agreed once there are two.
func (p *Parser) keyInit(end End, payload []byte, cut bool) {
	h := &p.handshake
	l, ok := parseLists(payload)
	if !ok {
		cause := policy.Malformed
		if cut {
			cause = policy.Limit
		}
		settle(&h.HASSH[end], policy.Lost[string](cause))
		settle(&h.Algorithms, policy.Lost[Algorithms](cause))
		return
	}
	settle(&h.HASSH[end], policy.Is(l.hassh(end)))
	switch {
	case h.Algorithms.State != policy.Unknown:
	case p.offer == nil:
		p.offer = append([]byte(nil), payload...)
	default:
		other, _ := parseLists(p.offer)
		p.offer = nil
		if end == Client {
			h.Algorithms = agree(&l, &other)
		} else {
			h.Algorithms = agree(&other, &l)
		}
	}
}

// agree is what two ends agree on: the first name of the client's that the server
// has, too (RFC 4253 section 7.1). Whether a host key's type suits the key exchange
// is not looked at.
func agree(client, server *lists) policy.Fact[Algorithms] {
	a := Algorithms{
		Strict: has(client.kex, "kex-strict-c-v00@openssh.com") && has(server.kex, "kex-strict-s-v00@openssh.com"),
	}
	ok := choose(&a.KeyExchange, client.kex, server.kex) && choose(&a.HostKey, client.hostKey, server.hostKey)
	for end := range End(2) {
		ok = ok && choose(&a.Cipher[end], client.cipher[end], server.cipher[end]) &&
			choose(&a.Compression[end], client.compression[end], server.compression[end])
		if !authenticates(a.Cipher[end]) {
			ok = ok && choose(&a.MAC[end], client.mac[end], server.mac[end])
		}
	}
	if !ok {
		return policy.Lost[Algorithms](policy.Limit)
	}
	return policy.Is(a)
}

// choose sets what is agreed on; empty: nothing, and the ends will hang up. False:
// the list is too long to search.
func choose(to *string, client, server []byte) bool {
	if bytes.Count(client, []byte(",")) >= MaxNames {
		return false
	}
	for name := range bytes.SplitSeq(client, []byte(",")) {
		if len(name) > 0 && has(server, string(name)) {
			*to = string(name)
			return true
		}
	}
	return true
}

// has says whether a list has a name.
func has(list []byte, name string) bool {
	for one := range bytes.SplitSeq(list, []byte(",")) {
		if string(one) == name {
			return true
		}
	}
	return false
}

// authenticates says whether a cipher needs no MAC.
func authenticates(cipher string) bool {
	return strings.HasSuffix(cipher, "-gcm@openssh.com") || hasPrefix(cipher, "chacha20-poly1305") ||
		hasPrefix(cipher, "AEAD_")
}
