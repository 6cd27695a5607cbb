package certificate

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// MalformedError names the field that cannot be read.
type MalformedError string

func (e MalformedError) Error() string { return "certificate is malformed: " + string(e) }

// Certificate is what is told of one. It does not refer to the bytes it was read
// from.
type Certificate struct {
	// SHA256 and SHA1 are the sums of the whole encoding.
	SHA256 [sha256.Size]byte
	SHA1   [sha1.Size]byte
	// Serial is the number's encoding: big-endian, two's complement.
	Serial          []byte
	Subject, Issuer Name
	// NotBefore and NotAfter are in UTC, and both belong to the time of validity.
	NotBefore, NotAfter time.Time
	// Names are the subject's alternative names of DNS, as they stand there, and
	// addresses as text. Others are those of mail, and URIs.
	Names, Others []string
	// SelfSigned: subject and issuer are the same, and the key identifiers do not
	// say otherwise (as OpenSSL does it; the signature is not checked).
	SelfSigned bool
	// IsAuthority: the basic constraints say that it may sign others; one of version
	// 1, which has none, may too if it is self-signed.
	IsAuthority bool
}

// Read reads one certificate. With an error, what could be read comes along, the
// sums at least.
func Read(encoded []byte) (*Certificate, error) {
	c := &Certificate{SHA256: sha256.Sum256(encoded), SHA1: sha1.Sum(encoded)}
	rest := der(encoded)
	var outer, body, serial, algorithm, validity, ignored der
	switch {
	case !rest.element(tagSequence, &outer):
		return c, MalformedError("not a sequence")
	case !outer.element(tagSequence, &body):
		return c, MalformedError("what is signed")
	}
	body.optional(0xa0, &ignored) // version
	var issuer, subject der
	var tag byte
	switch {
	case !body.element(tagInteger, &serial):
		return c, MalformedError("serial number")
	case !body.element(tagSequence, &algorithm):
		return c, MalformedError("signature algorithm")
	case !body.next(&tag, &ignored, &issuer) || tag != tagSequence || !readName(ignored, &c.Issuer):
		return c, MalformedError("issuer")
	case !body.element(tagSequence, &validity):
		return c, MalformedError("validity")
	case !readTime(&validity, &c.NotBefore):
		return c, MalformedError("start of validity")
	case !readTime(&validity, &c.NotAfter):
		return c, MalformedError("end of validity")
	case !body.next(&tag, &ignored, &subject) || tag != tagSequence || !readName(ignored, &c.Subject):
		return c, MalformedError("subject")
	}
	c.Serial = slices.Clone(serial)
	e := c.readExtensions(body)
	if e == nil {
		return c, MalformedError("extensions")
	}
	selfIssued := bytes.Equal(issuer, subject)
	c.SelfSigned = selfIssued && (e.authorityKey == nil || e.subjectKey == nil || bytes.Equal(e.authorityKey, e.subjectKey))
	c.IsAuthority = e.isAuthority || !e.any && c.SelfSigned
	return c, nil
}

// extensions are those that are read; any says whether there were some at all.
type extensions struct {
	subjectKey, authorityKey []byte
	isAuthority, any         bool
}

// readExtensions reads what comes after the subject: the key, unique identifiers,
// and the extensions.
func (c *Certificate) readExtensions(body der) *extensions {
	e := &extensions{}
	var ignored, wrapped, list der
	if !body.element(tagSequence, &ignored) {
		return nil
	}
	body.optional(0x81, &ignored)
	body.optional(0x82, &ignored)
	if !body.optional(0xa3, &wrapped) {
		return e
	}
	if !wrapped.element(tagSequence, &list) {
		return nil
	}
	for len(list) > 0 {
		var one, id, value der
		if !list.element(tagSequence, &one) || !one.element(tagOID, &id) {
			return nil
		}
		one.optional(0x01, &ignored) // critical
		if !one.element(tagOctetString, &value) {
			return nil
		}
		e.any = true
		// Those read are all of 2.5.29.
		if len(id) != 3 || id[0] != 0x55 || id[1] != 0x1d {
			continue
		}
		switch id[2] {
		case 14: // subject key identifier
			var key der
			if value.element(tagOctetString, &key) {
				e.subjectKey = key
			}
		case 17: // subject alternative name
			if !c.readNames(value) {
				return nil // a name that a client may know and a rule would miss
			}
		case 19: // basic constraints
			var constraints, authority der
			e.isAuthority = value.element(tagSequence, &constraints) &&
				constraints.optional(0x01, &authority) && len(authority) == 1 && authority[0] != 0
		case 35: // authority key identifier
			var identifier, key der
			if value.element(tagSequence, &identifier) && identifier.optional(0x80, &key) {
				e.authorityKey = key
			}
		}
	}
	return e
}

// readNames reads the alternative names (RFC 5280 section 4.2.1.6).
func (c *Certificate) readNames(value der) bool {
	var list der
	if !value.element(tagSequence, &list) {
		return false
	}
	for len(list) > 0 {
		var tag byte
		var content, whole der
		if !list.next(&tag, &content, &whole) {
			return false
		}
		switch tag {
		case 0x82:
			c.Names = append(c.Names, latin(content))
		case 0x81, 0x86:
			c.Others = append(c.Others, latin(content))
		case 0x87:
			if a, ok := netip.AddrFromSlice(content); ok {
				c.Names = append(c.Names, a.String())
			}
		}
	}
	return true
}

func appendNumber(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }
