// Package tls reads TLS, from SSL 3.0 to TLS 1.3, out of the two byte streams of a
// connection: who is asked for, what was negotiated, which certificates the server
// showed. It follows the records and the handshake's messages as far as they are in
// the clear; nothing is decrypted.
package tls

import (
	"github.com/weirnet/weir/internal/inspect/tls/certificate"
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
	ClientHello       Kind = iota + 1
	HelloRetryRequest      // a second ClientHello is to follow
	ServerHello
	Certificate // the server's chain
	Established // both ends have finished, as far as can be seen
	Alert
	Lost // facts cannot be had: Cause says why
)

// Message is something that was found.
type Message struct {
	Kind Kind
	From End
	// Begin and After are offsets in that end's stream: of the first byte of the
	// record that the message begins in, or of the message itself where it is not the
	// record's first, and of what follows it. The next message begins there.
	Begin, After uint64
	// Cause is valid for Lost.
	Cause policy.Cause
}

// Limits bound what a Parser keeps. Zero stands for the default.
type Limits struct {
	// Hello is the number of bytes of a ClientHello or ServerHello (32 KiB; those
	// with keys against quantum computers have 2 to 3).
	Hello int
	// Certificate is the number of bytes of a Certificate message (128 KiB).
	Certificate int
}

// AlertText is an alert that was sent in the clear.
type AlertText struct {
	From End
	// Fatal: not a warning.
	Fatal bool
	// Description is IANA's number.
	Description uint8
}

// Handshake is what is known of a connection's handshake. What is nil or empty was
// not seen, or not yet.
type Handshake struct {
	// Client is the first ClientHello. Where it was malformed, its last fields are
	// missing.
	Client *hello.Client
	// Server is the ServerHello, not a HelloRetryRequest.
	Server *hello.Server
	// Retried: the server asked for a second ClientHello.
	Retried bool
	// Chain are the server's certificates, of TLS 1.2 and below. Where they are
	// malformed, the last one is known in part.
	Chain certificate.Chain
	// Established: both ends have sent what can only be Finished. In TLS 1.3 that is
	// the client's first protected record after the server's which is long enough; if
	// the client sends early data, it may be one of these.
	Established bool
	// Resumed: an earlier session goes on (by its id or ticket; in TLS 1.3 by a key,
	// which may also have come about otherwise).
	Resumed bool
	// Renegotiated: another handshake began inside the first one's protection.
	Renegotiated bool
	// Alert is the last one in the clear.
	Alert *AlertText
}
