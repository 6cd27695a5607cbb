// Package quic reads the first packets of QUIC connections: versions 1 (RFC 9000,
// 9001) and 2 (RFC 9369), and the last drafts. They are protected by keys that
// anyone can make who sees them, and hold the TLS handshake's two hellos. What
// comes after is encrypted and not read.
package quic

import (
	"fmt"

	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
)

// End is one of the two ends.
type End uint8

// The ends. The client is the connection's initiator.
const (
	Client End = iota
	Server
)

// Kind says what a Message is.
type Kind uint8

// The kinds.
const (
	ClientHello        Kind = iota + 1
	HelloRetryRequest       // a second ClientHello is to follow
	Retry                   // the client is to come again with a token, and other keys
	VersionNegotiation      // the client is to come again with another version
	ServerHello
	Established // both ends have finished, as far as can be seen
	Closed      // the connection was closed in an Initial packet
	Lost        // facts cannot be had: Cause says why
)

// Message is something that was found.
type Message struct {
	Kind Kind
	From End
	// Datagram is which one of that end's completed it; the first is 0.
	Datagram uint64
	// Cause is valid for Lost.
	Cause policy.Cause
}

// Limits bound what a Parser keeps and tries. Zero stands for the default.
type Limits struct {
	// Hello is the number of bytes of an end's handshake in Initial packets (32 KiB).
	Hello int
	// Pieces is the number of pieces, not touching each other, that these may be in
	// (128; some clients send a dozen on purpose).
	Pieces int
	// Packets is the number of Initial packets that are decrypted of an end (256).
	Packets int
	// Keys is the number of keys that are made (16). A connection needs one, and one
	// for each Retry and change of version.
	Keys int
}

func (l *Limits) setDefaults() {
	set := func(v *int, value int) {
		if *v <= 0 {
			*v = value
		}
	}
	set(&l.Hello, 32<<10)
	set(&l.Pieces, 128)
	set(&l.Packets, 256)
	set(&l.Keys, 16)
}

// Handshake is what is known of a connection's handshake. What is nil or empty was
// not seen, or not yet.
type Handshake struct {
	// Version is QUIC's: that of the last Initial packet that could be read.
	Version uint32
	// Versions are those that a server offered in a Version Negotiation packet.
	Versions []uint32
	Client   *hello.Client
	Server   *hello.Server
	// Retried: the server sent a HelloRetryRequest.
	Retried bool
	// Resumed: TLS goes on with a key that the client offered.
	Resumed bool
	// Established: after the server's Handshake packets the client sent one with a
	// short header, which it may only once it has finished.
	Established bool
}

// VersionName is the version as text: "1", "2", a draft, or the number in hex.
func VersionName(version uint32) string {
	switch {
	case version == Version1:
		return "1"
	case version == Version2:
		return "2"
	case version >= 0xff000000 && version <= 0xff0000ff:
		return fmt.Sprintf("draft-%d", version&0xff)
	}
	return fmt.Sprintf("0x%08x", version)
}
