package names

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/netip"
	"time"
)

// What is saved: the magic with its version, the number of addresses (32 bits);
// of each address its length and bytes, the number of its names (16 bits); of each
// name when it was learned and when it expires (milliseconds since 1970, 64 bits),
// its length (16 bits) and bytes; SHA-256 of all that. Numbers are big-endian. The
// least recently used address is first.
const (
	magic = "weir names 1\n"
	// longestName is that of a name whose bytes are all escaped as \DDD.
	longestName = 4 * 255
	// MaxLife is the longest TTL (RFC 2181 section 8): what is loaded lives no
	// longer, whatever the clock was when it was saved.
	MaxLife = (1<<31 - 1) * time.Second
)

// Save writes what has not expired.
func (t *Table) Save(w io.Writer, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expireAll(now)
	sum := sha256.New()
	out := bufio.NewWriter(io.MultiWriter(w, sum)) // its first error stays
	out.WriteString(magic)
	b := binary.BigEndian.AppendUint32(nil, uint32(len(t.index)))
	for i := t.oldest; i != none; i = t.entries[i].newer {
		e := &t.entries[i]
		b = append(b, byte(e.addr.BitLen()/8))
		b = append(b, e.addr.AsSlice()...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(e.names)))
		for n, name := range e.names {
			b = binary.BigEndian.AppendUint64(b, uint64(e.lives[n].learned))
			b = binary.BigEndian.AppendUint64(b, uint64(e.lives[n].expires))
			b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
			b = append(b, name...)
		}
		out.Write(b)
		b = b[:0]
	}
	out.Write(b) // of an empty table: the number
	if err := out.Flush(); err != nil {
		return fmt.Errorf("save names: %w", err)
	}
	if _, err := w.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("save names: %w", err)
	}
	return nil
}

// Load adds what Save wrote, as far as it has not expired and the limits allow. It
// is all or nothing: what was damaged, or is none of ours, changes nothing.
func (t *Table) Load(r io.Reader, now time.Time) error {
	most := 1<<20 + 4*int64(t.limits.Bytes)
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case err != nil:
		return fmt.Errorf("load names: %w", err)
	case int64(len(data)) > most:
		return fmt.Errorf("load names: more than %d bytes, four times what the table holds", most)
	case !bytes.HasPrefix(data, []byte(magic)):
		return fmt.Errorf("load names: does not begin with %q: of another version, or no saved names", magic)
	case len(data) < len(magic)+4+sha256.Size:
		return fmt.Errorf("load names: ends after %d bytes", len(data))
	}
	body := data[:len(data)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], data[len(body):]) {
		return fmt.Errorf("load names: the checksum is not that of the %d bytes before it: damaged, or cut off", len(body))
	}
	if err := readSaved(body, func(netip.Addr, []byte, life) {}); err != nil {
		return fmt.Errorf("load names: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := now.UnixMilli()
	return readSaved(body, func(addr netip.Addr, name []byte, l life) {
		l.expires = min(l.expires, at+MaxLife.Milliseconds())
		l.learned = min(l.learned, at)
		if l.expires <= at {
			return
		}
		if i, ok := t.index[addr]; ok {
			for n, known := range t.entries[i].names {
				if known == string(name) {
					t.refresh(i, n, l.learned, l.expires)
					return
				}
			}
		}
		t.insert(addr, string(name), l)
	})
}

// readSaved calls f for every name.
func readSaved(body []byte, f func(addr netip.Addr, name []byte, l life)) error {
	rest := body[len(magic):]
	bad := func(what string) error {
		return fmt.Errorf("at byte %d: %s", len(body)-len(rest), what)
	}
	addresses := binary.BigEndian.Uint32(rest)
	rest = rest[4:]
	for ; addresses > 0; addresses-- {
		if len(rest) < 1 || rest[0] != 4 && rest[0] != 16 || len(rest) < 1+int(rest[0])+2 {
			return bad("not an address")
		}
		addr, _ := netip.AddrFromSlice(rest[1 : 1+rest[0]])
		if addr != normal(addr) {
			return bad("IPv4 in the form of IPv6")
		}
		rest = rest[1+rest[0]:]
		names := binary.BigEndian.Uint16(rest)
		rest = rest[2:]
		for ; names > 0; names-- {
			const head = 18
			if len(rest) < head || len(rest) < head+int(binary.BigEndian.Uint16(rest[16:])) {
				return bad("not a name")
			}
			l := life{int64(binary.BigEndian.Uint64(rest)), int64(binary.BigEndian.Uint64(rest[8:]))}
			name := rest[head : head+int(binary.BigEndian.Uint16(rest[16:]))]
			if l.learned < 0 || l.expires < l.learned || l.expires > math.MaxInt64/2 || !isName(name) {
				return bad("not a name that was learned")
			}
			f(addr, name, l)
			rest = rest[head+len(name):]
		}
	}
	if len(rest) > 0 {
		return bad("more than the addresses")
	}
	return nil
}

// isName: as Learn notes them.
func isName(name []byte) bool {
	for _, b := range name {
		if b <= ' ' || b >= 0x7f || b != lower(b) {
			return false
		}
	}
	return len(name) > 0 && len(name) <= longestName
}
