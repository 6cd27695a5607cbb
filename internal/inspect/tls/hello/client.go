package hello

import (
	"github.com/weirnet/weir/internal/policy"
)

// Extensions that are read (IANA, TLS ExtensionType values).
const (
	extServerName          = 0
	extGroups              = 10
	extPointFormats        = 11
	extSignatureAlgorithms = 13
	extALPN                = 16
	extSessionTicket       = 35
	extPreSharedKey        = 41
	extEarlyData           = 42
	extSupportedVersions   = 43
	extKeyShare            = 51
	extECH                 = 0xfe0d
)

// Handshake messages (RFC 8446 section 4), those that are told apart.
const (
	TypeClientHello       = 1
	TypeServerHello       = 2
	TypeHelloRetryRequest = 6 // of drafts before 22
	TypeCertificate       = 11
	TypeServerHelloDone   = 14
)

// Client is a ClientHello. Lists are in the order of the message; numbers are those
// of IANA's registries, GREASE (RFC 8701) among them.
type Client struct {
	// Version is the message's own field, legacy_version in TLS 1.3.
	Version uint16
	// SSLv2: it came in SSL 2.0's form (RFC 5246 appendix E.2), which has no
	// extensions.
	SSLv2      bool
	Ciphers    []uint16
	Extensions []uint16
	// Versions are those of supported_versions; empty without it.
	Versions            []uint16
	Groups              []uint16
	PointFormats        []uint8
	SignatureAlgorithms []uint16
	// KeyShares are the groups of which there is a share.
	KeyShares []uint16
	ALPN      []string
	// ServerName is the outer one, in lower case and without a final dot; absent
	// without the extension.
	ServerName policy.Fact[string]
	// ECH: there is an outer encrypted_client_hello (RFC 9849). One that a client
	// sends for show (GREASE) looks the same, and is true as well.
	ECH policy.Fact[bool]
	// Ticket: a session ticket (RFC 5077) is offered; PreSharedKey: a TLS 1.3
	// session, or another key; EarlyData: bytes follow before the answer.
	Ticket, PreSharedKey, EarlyData bool
}

// ReadClient reads the body of a ClientHello. Where it returns an error, some
// servers may still read the message, and not all of them alike: what is in the
// result until then is for events, not for judging.
func ReadClient(body []byte) (*Client, error) {
	h := &Client{ServerName: policy.Missing[string](), ECH: policy.Is(false)}
	c := cursor(body)
	var session, ciphers, compression, extensions cursor
	switch {
	case !c.u16(&h.Version):
		return h, MalformedError("version")
	case !c.skip(32):
		return h, MalformedError("random")
	case !c.vector8(&session) || len(session) > 32:
		return h, MalformedError("session id")
	case !c.vector16(&ciphers) || !ciphers.numbers(&h.Ciphers):
		return h, MalformedError("cipher suites")
	case !c.vector8(&compression) || len(compression) == 0:
		return h, MalformedError("compression methods")
	case len(c) == 0: // as before RFC 3546
		return h, nil
	case !c.vector16(&extensions) || len(c) != 0:
		return h, MalformedError("extensions")
	}
	var seen extensionSet
	for len(extensions) > 0 {
		var kind uint16
		var data cursor
		if !extensions.u16(&kind) || !extensions.vector16(&data) {
			return h, MalformedError("extensions")
		}
		// RFC 8446 4.2 forbids it, and servers differ in which one they heed.
		if seen.add(kind) {
			return h, MalformedError("repeated extension")
		}
		h.Extensions = append(h.Extensions, kind)
		if !h.extension(kind, data) {
			return h, MalformedError(extensionNames[kind])
		}
	}
	return h, nil
}

var extensionNames = map[uint16]string{
	extServerName: "server_name", extGroups: "supported_groups", extPointFormats: "ec_point_formats",
	extSignatureAlgorithms: "signature_algorithms", extALPN: "application_layer_protocol_negotiation",
	extSupportedVersions: "supported_versions", extKeyShare: "key_share", extECH: "encrypted_client_hello",
}

func (h *Client) extension(kind uint16, data cursor) bool {
	switch kind {
	case extServerName:
		return h.serverName(data)
	case extGroups:
		return data.numbers16(&h.Groups)
	case extPointFormats:
		var formats cursor
		if !data.vector8(&formats) || len(data) != 0 {
			return false
		}
		h.PointFormats = append([]uint8(nil), formats...)
	case extSignatureAlgorithms:
		return data.numbers16(&h.SignatureAlgorithms)
	case extALPN:
		return readALPN(data, &h.ALPN)
	case extSessionTicket:
		h.Ticket = len(data) > 0
	case extPreSharedKey:
		h.PreSharedKey = true
	case extEarlyData:
		h.EarlyData = true
	case extSupportedVersions:
		var versions cursor
		return data.vector8(&versions) && len(data) == 0 && versions.numbers(&h.Versions)
	case extKeyShare:
		return h.keyShares(data)
	case extECH:
		var outer uint8
		if !data.u8(&outer) || outer > 1 {
			h.ECH = policy.Lost[bool](policy.Malformed)
			return false
		}
		h.ECH = policy.Is(outer == 0)
	}
	return true
}

func (h *Client) keyShares(data cursor) bool {
	var shares cursor
	// Drafts before 23 have another number for it, so that this one may be anything.
	if !data.vector16(&shares) || len(data) != 0 {
		return false
	}
	for len(shares) > 0 {
		var group uint16
		var key cursor
		if !shares.u16(&group) || !shares.vector16(&key) {
			return false
		}
		h.KeyShares = append(h.KeyShares, group)
	}
	return true
}

func readALPN(data cursor, names *[]string) bool {
	var list cursor
	if !data.vector16(&list) || len(data) != 0 {
		return false
	}
	for len(list) > 0 {
		var name cursor
		if !list.vector8(&name) {
			return false
		}
		*names = append(*names, string(name))
	}
	return true
}

// extensionSet is a set of 65,536 numbers: with a list, a hello of thousands of
// extensions would take quadratic time.
type extensionSet [1 << 10]uint64

// add says whether the number was there already.
func (s *extensionSet) add(n uint16) bool {
	word, bit := &s[n>>6], uint64(1)<<(n&63)
	was := *word&bit != 0
	*word |= bit
	return was
}
