package ssh

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/weirnet/weir/internal/policy"
)

// reply reads the host key from a packet of the server's, if it is the one that
// bears it: in all methods it is the first string there. Which packet it is depends
// on the method. Where the client's offer was not seen (yet), the content tells: no
// number of a group looks like a key.
func (p *Parser) reply(payload []byte, cut bool) bool {
	h := &p.handshake
	if h.HostKey.State != policy.Unknown {
		return false
	}
	expected := false
	if h.Algorithms.State == policy.Known {
		if payload[0] != replyOf(h.Algorithms.Value.KeyExchange) {
			return false
		}
		expected = true
	}
	key, _, ok := str(payload[1:])
	kind := ""
	if ok {
		kind, ok = keyType(key)
	}
	switch {
	case ok:
		h.HostKey, h.HostKeyType = policy.Is(fingerprint(key)), kind
	case cut:
		h.HostKey = policy.Lost[string](policy.Limit)
	case expected:
		h.HostKey = policy.Lost[string](policy.Malformed)
	default:
		return false
	}
	return true
}

// replyOf is the number of the packet that bears the host key.
func replyOf(method string) byte {
	switch {
	case hasPrefix(method, prefixGroups), hasPrefix(method, prefixGSS):
		return typeReply33
	case hasPrefix(method, prefixRSA):
		return typeReply30
	}
	return typeReply31
}

// keyType is the name that a key begins with.
func keyType(key []byte) (string, bool) {
	const longest = 64 // of a name (RFC 4251 section 6)
	name, _, ok := str(key)
	if !ok || len(name) < 3 || len(name) > longest {
		return "", false
	}
	for _, b := range name {
		if b <= ' ' || b >= 0x7f || b == ',' {
			return "", false
		}
	}
	return string(name), true
}

// fingerprint is a key's as OpenSSH prints it.
func fingerprint(key []byte) string {
	sum := sha256.Sum256(key)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}
