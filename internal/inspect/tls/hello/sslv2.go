package hello

import "github.com/weirnet/weir/internal/policy"

// ReadSSLv2 reads the body of a CLIENT-HELLO in SSL 2.0's form, from its message
// type on (RFC 5246 appendix E.2).
func ReadSSLv2(body []byte) (*Client, error) {
	h := &Client{SSLv2: true, ServerName: policy.Missing[string](), ECH: policy.Is(false)}
	c := cursor(body)
	var kind uint8
	var specs, session, challenge uint16
	switch {
	case !c.u8(&kind) || kind != TypeClientHello:
		return h, MalformedError("message type")
	case !c.u16(&h.Version):
		return h, MalformedError("version")
	case !c.u16(&specs) || !c.u16(&session) || !c.u16(&challenge) || specs%3 != 0:
		return h, MalformedError("lengths")
	case len(c) != int(specs)+int(session)+int(challenge):
		return h, MalformedError("lengths")
	}
	for range specs / 3 {
		var high uint8
		var suite uint16
		c.u8(&high)
		c.u16(&suite)
		if high == 0 { // the others are SSL 2.0's own
			h.Ciphers = append(h.Ciphers, suite)
		}
	}
	return h, nil
}
