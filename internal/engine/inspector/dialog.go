package inspector

import (
	"bytes"
	"encoding/binary"
)

// dialogReader reads a preamble, of which nothing is told. It is what it leads to that a
// connection is judged by: so much of it as has the right form passes until then.
type dialogReader struct {
	read1 dialog
	said  [2][]byte
	at    extent
}

func newDialogReader(d dialog) *dialogReader { return &dialogReader{read1: d} }

func (r *dialogReader) read(i *Inspector, c *conn, end int, data []byte) (consumed int) {
	r.said[end] = append(r.said[end][:0], data[:min(len(data), longestPreamble)]...)
	if len(r.said[client]) == 0 {
		return 0 // the client's bytes, by which the preamble is known, come first
	}
	at, m := r.read1(r.said)
	switch {
	case m == no, m == more && len(r.said[end]) == longestPreamble:
		i.isOther(c)
		return len(data)
	case m == more:
		r.at = at
		return 0
	}
	c.streams.Stream(end ^ 1).Skip(uint64(at[end^1]))
	i.restart(c, [2]uint64{uint64(at[client]), uint64(at[server])})
	return at[end]
}

func (r *dialogReader) gap(i *Inspector, c *conn, end int, n uint64) {
	if n != 0 || end == client {
		i.miss(c)
	}
}

func (r *dialogReader) limit(i *Inspector, c *conn, _ int) { i.isOther(c) }

func (r *dialogReader) close(i *Inspector, c *conn, _ int) { i.isOther(c) }

func (r *dialogReader) skip(int) uint64          { return 0 }
func (r *dialogReader) wants(int) bool           { return true }
func (r *dialogReader) judged(end int) uint64    { return uint64(min(r.at[end], len(r.said[end]))) }
func (r *dialogReader) distrust(*conn, int)      {}
func (r *dialogReader) held() int                { return 2 * longestPreamble }
func (r *dialogReader) finish(*Inspector, *conn) {}

// proxyHeader is the length of a header of the PROXY protocol, in which a balancer
// tells a server the address of the client: what follows it is the client's.
func proxyHeader(data []byte) (length int, m match) {
	const (
		text        = "PROXY "
		binarySign  = "\r\n\r\n\x00\r\nQUIT\n"
		longestText = 107
		longest     = 4096
	)
	if n := min(len(data), len(binarySign)); string(data[:n]) == binarySign[:n] {
		if len(data) < len(binarySign)+4 {
			return 0, more
		}
		n := len(binarySign) + 4 + int(binary.BigEndian.Uint16(data[len(binarySign)+2:]))
		switch {
		case n > longest:
			return 0, no
		case n > len(data):
			return 0, more
		}
		return n, yes
	}
	if n := min(len(data), len(text)); string(data[:n]) != text[:n] {
		return 0, no
	}
	line := data[:min(len(data), longestText)]
	switch end := bytes.Index(line, []byte("\r\n")); {
	case end >= 0:
		for _, family := range [...]string{"PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN"} {
			if bytes.HasPrefix(line, []byte(family)) && !bytes.Contains(line[:end], []byte("HTTP/")) {
				return end + 2, yes
			}
		}
	case len(line) < longestText:
		return 0, more
	}
	return 0, no
}
