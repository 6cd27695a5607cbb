// Package certificate reads X.509 certificates as they come along in the wild:
// also those that crypto/x509 refuses for what no rule asks about (negative serial
// numbers, keys and signatures of old algorithms, strings with characters that
// their type does not have, odd times). It verifies nothing: who presents a
// certificate is for the client to judge.
package certificate

// ASN.1 tags (X.690).
const (
	tagInteger     = 0x02
	tagBitString   = 0x03
	tagOctetString = 0x04
	tagOID         = 0x06
	tagUTF8        = 0x0c
	tagT61         = 0x14
	tagUTCTime     = 0x17
	tagGeneralized = 0x18
	tagUniversal   = 0x1c
	tagBMP         = 0x1e
	tagSequence    = 0x30
	tagSet         = 0x31
)

// der is what is left of an encoding. Lengths may have more bytes than they need,
// which DER forbids and some issuers did; indefinite lengths are not read.
type der []byte

// next reads an element: its tag, its content, and all of its bytes. Tags above 30
// do not occur in certificates.
func (d *der) next(tag *byte, content, whole *der) bool {
	b := *d
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return false
	}
	n, at := int(b[1]), 2
	if n >= 0x80 {
		digits := n & 0x7f
		if digits == 0 || digits > 4 || len(b) < 2+digits {
			return false
		}
		n = 0
		for _, digit := range b[2 : 2+digits] {
			n = n<<8 | int(digit)
		}
		at += digits
	}
	if n < 0 || len(b)-at < n {
		return false
	}
	*tag, *content, *whole, *d = b[0], b[at:at+n], b[:at+n], b[at+n:]
	return true
}

// element reads one of that tag.
func (d *der) element(tag byte, content *der) bool {
	var found byte
	var whole der
	rest := *d
	if !rest.next(&found, content, &whole) || found != tag {
		return false
	}
	*d = rest
	return true
}

// optional reads one of that tag if it is next.
func (d *der) optional(tag byte, content *der) (found bool) { return d.element(tag, content) }

// oid is an object identifier in dotted form, as far as its numbers fit 63 bits.
func oid(content []byte) string {
	b := make([]byte, 0, 32)
	var n uint64
	first := true
	for _, v := range content {
		if n >= 1<<56 {
			return ""
		}
		n = n<<7 | uint64(v&0x7f)
		if v&0x80 != 0 {
			continue
		}
		if first {
			first = false
			top := min(n/40, 2)
			b = appendNumber(b, top)
			n -= top * 40
			b = append(b, '.')
		} else {
			b = append(b, '.')
		}
		b = appendNumber(b, n)
		n = 0
	}
	return string(b)
}
