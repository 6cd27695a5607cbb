// Package hello reads the two messages that open a TLS handshake, wherever they
// were carried: ClientHello and ServerHello (RFC 8446, 5246, and what came before
// them), and makes the fingerprints JA3, JA3S and JA4 of them. What it returns does
// not refer to the bytes it was given.
package hello

// cursor reads what is left of a message. A read that fails returns false and
// leaves the rest undefined.
type cursor []byte

func (c *cursor) u8(v *uint8) bool {
	if len(*c) < 1 {
		return false
	}
	*v, *c = (*c)[0], (*c)[1:]
	return true
}

func (c *cursor) u16(v *uint16) bool {
	if len(*c) < 2 {
		return false
	}
	*v, *c = uint16((*c)[0])<<8|uint16((*c)[1]), (*c)[2:]
	return true
}

func (c *cursor) take(n int, v *cursor) bool {
	if len(*c) < n {
		return false
	}
	*v, *c = (*c)[:n], (*c)[n:]
	return true
}

func (c *cursor) skip(n int) bool {
	var skipped cursor
	return c.take(n, &skipped)
}

// vector8 reads a vector whose length is one byte.
func (c *cursor) vector8(v *cursor) bool {
	var n uint8
	return c.u8(&n) && c.take(int(n), v)
}

// vector16 reads a vector whose length is two bytes.
func (c *cursor) vector16(v *cursor) bool {
	var n uint16
	return c.u16(&n) && c.take(int(n), v)
}

// numbers reads all that is left as numbers of two bytes.
func (c *cursor) numbers(v *[]uint16) bool {
	if len(*c)%2 != 0 {
		return false
	}
	all := make([]uint16, len(*c)/2)
	for i := range all {
		c.u16(&all[i])
	}
	*v = all
	return true
}

// numbers16 is a whole extension: a vector of numbers, its length two bytes.
func (c *cursor) numbers16(v *[]uint16) bool {
	var list cursor
	return c.vector16(&list) && len(*c) == 0 && list.numbers(v)
}

// MalformedError names the field that cannot be read.
type MalformedError string

func (e MalformedError) Error() string { return "hello is malformed: " + string(e) }
