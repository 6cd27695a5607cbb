package hello

// Server is a ServerHello, or a HelloRetryRequest.
type Server struct {
	// LegacyVersion is the message's own field.
	LegacyVersion uint16
	// Version is the negotiated one: that of supported_versions, if it is there.
	Version    uint16
	Cipher     uint16
	Extensions []uint16
	// ALPN is the protocol chosen. In TLS 1.3 it is encrypted, and empty here.
	ALPN string
	// Retry: it is a HelloRetryRequest, and a second ClientHello follows.
	Retry bool
	// PreSharedKey: TLS 1.3 goes on with a session, or another key, that the client
	// offered.
	PreSharedKey bool
}

// retryRandom makes a ServerHello a HelloRetryRequest (RFC 8446 section 4.1.3).
const retryRandom = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91" +
	"\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"

// ReadServer reads the body of a ServerHello.
func ReadServer(body []byte) (*Server, error) {
	h := &Server{}
	c := cursor(body)
	var random, session, extensions cursor
	var compression uint8
	if !c.u16(&h.LegacyVersion) {
		return h, MalformedError("version")
	}
	h.Version = h.LegacyVersion
	if !c.take(32, &random) {
		return h, MalformedError("random")
	}
	h.Retry = string(random) == retryRandom
	// Drafts before 22 had not yet put the two fields of TLS 1.2 in again.
	old := isDraft(h.LegacyVersion) || h.LegacyVersion == TLS13
	switch {
	case !old && (!c.vector8(&session) || len(session) > 32):
		return h, MalformedError("session id")
	case !c.u16(&h.Cipher):
		return h, MalformedError("cipher suite")
	case !old && !c.u8(&compression):
		return h, MalformedError("compression method")
	case len(c) == 0:
		return h, nil
	case !c.vector16(&extensions) || len(c) != 0:
		return h, MalformedError("extensions")
	}
	return h, h.extensions(extensions)
}

// ReadDraftRetry reads the HelloRetryRequest of drafts before 22, a message of its
// own.
func ReadDraftRetry(body []byte) (*Server, error) {
	h := &Server{Retry: true}
	c := cursor(body)
	var extensions cursor
	if !c.u16(&h.LegacyVersion) || !isDraft(h.LegacyVersion) {
		return h, MalformedError("version")
	}
	h.Version = h.LegacyVersion
	if h.Version&0xff >= 19 && !c.u16(&h.Cipher) {
		return h, MalformedError("cipher suite")
	}
	if !c.vector16(&extensions) || len(c) != 0 {
		return h, MalformedError("extensions")
	}
	return h, h.extensions(extensions)
}

func (h *Server) extensions(list cursor) error {
	var seen extensionSet
	for len(list) > 0 {
		var kind uint16
		var data cursor
		if !list.u16(&kind) || !list.vector16(&data) {
			return MalformedError("extensions")
		}
		if seen.add(kind) {
			return MalformedError("repeated extension")
		}
		h.Extensions = append(h.Extensions, kind)
		switch kind {
		case extSupportedVersions:
			if !data.u16(&h.Version) || len(data) != 0 {
				return MalformedError("supported_versions")
			}
		case extALPN:
			var names []string
			if !readALPN(data, &names) || len(names) != 1 {
				return MalformedError("application_layer_protocol_negotiation")
			}
			h.ALPN = names[0]
		case extPreSharedKey:
			h.PreSharedKey = true
		}
	}
	return nil
}
