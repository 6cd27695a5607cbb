package names

import (
	"bytes"
	"net/netip"

	"github.com/weirnet/weir/internal/packet"
)

// Types of DNS that matter here.
const (
	typeA    = 1
	typeAAAA = 28
	typeANY  = 255
)

const portDNS = 53

// Key tells a query from others. Two keys are equal where an answer with the one
// answers the query with the other.
type Key struct {
	// Tuple is that of the query's packet, also in the key of an answer: its
	// destination is the resolver.
	Tuple packet.Tuple
	ID    uint16
	Type  uint16
	// Name is the question's as text; its case does not matter.
	Name []byte
}

func (k *Key) equal(o *Key) bool {
	return k.Tuple == o.Tuple && k.ID == o.ID && k.Type == o.Type && equalFold(k.Name, o.Name)
}

// equalFold compares as DNS does: only ASCII letters have a case.
func equalFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		b += 'a' - 'A'
	}
	return b
}

// Answer is what the answer section of a message says, in any order. Records of
// other sections do not belong in it. Use one again and again.
type Answer struct {
	// RCode is the response code: only of NOERROR, 0, is anything learned.
	RCode uint16

	aliases   []alias
	addresses []address
	text      []byte // the names, in lower case
	omitted   int
}

// span is a name in the text.
type span struct{ at, end int32 }

type alias struct {
	owner, target span
	ttl           uint32
}

type address struct {
	owner, target span // they differ in hints only
	kind          uint16
	ttl           uint32
	addr          netip.Addr
}

// Bounds of an Answer: what fits into a message of 64 KiB with names as usual.
const (
	maxRecords = 2048
	maxText    = 256 << 10
)

// Reset makes it empty.
func (a *Answer) Reset() {
	*a = Answer{aliases: a.aliases[:0], addresses: a.addresses[:0], text: a.text[:0]}
}

// Alias adds a CNAME record. Names are text, as a parser escapes it; their case
// does not matter, nor does a last dot.
func (a *Answer) Alias(owner, target []byte, ttl uint32) {
	if !a.hasRoom(owner, target) {
		return
	}
	a.aliases = append(a.aliases, alias{a.add(owner), a.add(target), ttl})
}

// Address adds an address of a record of type kind, A or AAAA.
func (a *Answer) Address(owner []byte, kind uint16, addr netip.Addr, ttl uint32) {
	a.Hint(owner, owner, kind, addr, ttl)
}

// Hint adds an address that a record of type kind, HTTPS or SVCB, gives for its
// target.
func (a *Answer) Hint(owner, target []byte, kind uint16, addr netip.Addr, ttl uint32) {
	if !a.hasRoom(owner, target) {
		return
	}
	r := address{kind: kind, ttl: ttl, addr: normal(addr)}
	r.owner = a.add(owner)
	if r.target = r.owner; !bytes.Equal(owner, target) {
		r.target = a.add(target)
	}
	a.addresses = append(a.addresses, r)
}

func (a *Answer) hasRoom(owner, target []byte) bool {
	if len(a.aliases)+len(a.addresses) < maxRecords && len(a.text)+len(owner)+len(target) <= maxText {
		return true
	}
	a.omitted++
	return false
}

// add puts a name into the text, unless it is the owner of the last record.
func (a *Answer) add(name []byte) span {
	if n := len(name); n > 1 && name[n-1] == '.' && name[n-2] != '\\' {
		name = name[:n-1]
	}
	if n := len(a.addresses); n > 0 {
		if last := a.addresses[n-1].owner; equalFold(a.name(last), name) {
			return last
		}
	}
	s := span{at: int32(len(a.text))}
	for _, b := range name {
		a.text = append(a.text, lower(b))
	}
	s.end = int32(len(a.text))
	return s
}

func (a *Answer) name(s span) []byte { return a.text[s.at:s.end] }
