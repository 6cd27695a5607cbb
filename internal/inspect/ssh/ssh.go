// Package ssh reads what an SSH connection (RFC 4253) says before it is
// encrypted: the banners of both ends, their algorithms, the server's host key. It
// is pure: no goroutines, no clock, no I/O.
package ssh

import (
	"bytes"

	"github.com/weirnet/weir/internal/policy"
)

// End is an end of a connection.
type End uint8

// The ends.
const (
	Client End = iota // the connection's initiator
	Server
)

// Bounds.
const (
	// MaxBanner is the length of an identification string with its line end, in
	// bytes (RFC 4253 section 4.2).
	MaxBanner = 255
	// MaxLead is how many bytes a server may send before its banner, in lines of
	// their own. OpenSSH reads 1024 lines.
	MaxLead = 64 << 10
	// MaxPacket is the length of a packet that is believed: OpenSSH's limit.
	MaxPacket = 256 << 10
	// MaxPackets is the number of packets of one end before its keys are in use.
	MaxPackets = 256
	// MaxNames is the number of names in a list of algorithms that is searched.
	MaxNames = 256
	// MaxDetect is how many bytes settle whether it is SSH: more help nothing.
	MaxDetect = 512
)

// Match says whether bytes are SSH.
type Match uint8

// The answers.
const (
	No Match = iota
	Yes
	More // four bytes settle it
)

// Detect says whether an initiator's first bytes are SSH. Some servers read over
// lines that come before the client's banner, as if it were a server's: such a
// line is malformed, but SSH. Other protocols can hold one, too, so ask them first.
func Detect(data []byte) Match {
	const banner = "SSH-"
	head := data[:min(len(data), MaxDetect)]
	switch {
	case bytes.HasPrefix(head, []byte(banner)), bytes.Contains(head, []byte("\n"+banner)):
		return Yes
	case len(head) < len(banner) && string(head) == banner[:len(head)]:
		return More
	}
	return No
}

// Banner is what an end calls itself.
type Banner struct {
	// Version is that of the protocol: "2.0", "1.99" (a server that also speaks
	// 2.0), or an older one.
	Version string
	// Software has no spaces; Comments are what stands behind the first.
	Software, Comments string
}

// Algorithms are what was agreed. Those of a direction are by sender. A MAC is
// empty where the cipher authenticates, too.
type Algorithms struct {
	KeyExchange, HostKey string
	Cipher               [2]string
	MAC                  [2]string
	Compression          [2]string
	// Strict: both ends number their packets anew with the first keys (OpenSSH's
	// answer to the Terrapin attack).
	Strict bool
}

// Handshake is what is known of a connection's first key exchange.
type Handshake struct {
	Banner [2]policy.Fact[Banner]
	// HASSH is the client's, and of the server the one named hasshServer: MD5 of the
	// algorithms offered, in hex.
	HASSH      [2]policy.Fact[string]
	Algorithms policy.Fact[Algorithms]
	// HostKey is the fingerprint of the server's key as OpenSSH prints it, SHA256:
	// and base64; HostKeyType is valid with it.
	HostKey     policy.Fact[string]
	HostKeyType string
}

// Facts are those that rules are judged by. The client's public key is never seen
// here: it goes encrypted.
func (h *Handshake) Facts() policy.SSHFacts {
	b := h.Banner[Server]
	return policy.SSHFacts{Software: policy.Fact[string]{State: b.State, Cause: b.Cause, Value: b.Value.Software}}
}

// Settled says whether nothing more can become known.
func (h *Handshake) Settled() bool {
	return h.Banner[Client].State != policy.Unknown && h.Banner[Server].State != policy.Unknown &&
		h.HASSH[Client].State != policy.Unknown && h.HASSH[Server].State != policy.Unknown &&
		h.Algorithms.State != policy.Unknown && h.HostKey.State != policy.Unknown
}

// settle gives a fact that is unknown another state.
func settle[T any](f *policy.Fact[T], to policy.Fact[T]) {
	if f.State == policy.Unknown {
		*f = to
	}
}

// lose says that what an end has not told so far will not come.
func (h *Handshake) lose(end End, why policy.State, cause policy.Cause) {
	settle(&h.Banner[end], policy.Fact[Banner]{State: why, Cause: cause})
	settle(&h.HASSH[end], policy.Fact[string]{State: why, Cause: cause})
	settle(&h.Algorithms, policy.Fact[Algorithms]{State: why, Cause: cause})
	if end == Server {
		settle(&h.HostKey, policy.Fact[string]{State: why, Cause: cause})
	}
}
