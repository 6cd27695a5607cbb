package dns

import (
	"encoding/binary"
	"net/netip"
)

// Record is a resource record. Its data are read when they are asked for.
type Record struct {
	Name  Name
	Type  uint16
	Class uint16 // without the flag of mDNS
	// TTL is in seconds; one with the top bit set counts as 0 (RFC 2181 section 8).
	TTL uint32
	// Replaces is valid for MDNS: caches forget what they had of this name and type.
	Replaces bool

	at, end int // of the data, in the message
}

// read reads the record at `at`. Unless it is kept its name is only passed over.
func (r *Record) read(msg []byte, at int, keep bool) (end int, problem Problem) {
	r.Name = Name{msg, at}
	if keep {
		at, problem = readName(msg, at)
	} else {
		at, problem = passName(msg, at)
	}
	if problem != None {
		return at, problem
	}
	if at+10 > len(msg) {
		return at, Short
	}
	r.Type = binary.BigEndian.Uint16(msg[at:])
	r.Class = binary.BigEndian.Uint16(msg[at+2:])
	r.TTL = binary.BigEndian.Uint32(msg[at+4:])
	r.at = at + 10
	r.end = r.at + int(binary.BigEndian.Uint16(msg[at+8:]))
	if r.end > len(msg) {
		return at, Short
	}
	if r.TTL>>31 != 0 && r.Type != typeOPT {
		r.TTL = 0
	}
	return r.end, None
}

// passName finds the end of a name without following its pointer.
func passName(msg []byte, at int) (end int, problem Problem) {
	from := at
	for at < len(msg) {
		b := int(msg[at])
		switch {
		case b == 0:
			return at + 1, None
		case b >= 0xc0 && at+1 < len(msg):
			return at + 2, None
		case b >= 0xc0:
			return at, Short
		case b >= 0x40:
			return at, BadLabel
		}
		if at += b + 1; at-from >= maxName {
			return at, LongName
		}
	}
	return at, Short
}

// Data are the bytes of the record's data. Names in them may be compressed.
func (r *Record) Data() []byte { return r.Name.msg[r.at:r.end] }

// Addr is the address of a record of type A or AAAA.
func (r *Record) Addr() (addr netip.Addr, ok bool) {
	switch data := r.Data(); {
	case r.Class != classIN:
	case r.Type == TypeA && len(data) == 4, r.Type == TypeAAAA && len(data) == 16:
		return netip.AddrFromSlice(data)
	}
	return netip.Addr{}, false
}

// Target is the name in the data of a record of type CNAME, DNAME, NS, PTR, MX,
// SRV, SVCB or HTTPS; false where it is malformed, or the type is another. Of SVCB
// and HTTPS the root stands for the record's own name (RFC 9460 section 2.5), and
// that is what it returns.
func (r *Record) Target() (name Name, ok bool) {
	before, last := 0, true
	switch r.Type {
	case TypeCNAME, TypeDNAME, TypeNS, TypePTR:
	case TypeMX:
		before = 2
	case TypeSRV:
		before = 6
	case TypeSVCB, TypeHTTPS:
		before, last = 2, false
	default:
		return Name{}, false
	}
	name, end, ok := r.nameAt(r.at + before)
	if !ok || last && end != r.end {
		return Name{}, false
	}
	if !last && name.IsRoot() && binary.BigEndian.Uint16(r.Data()) != 0 {
		return r.Name, true
	}
	return name, true
}

// nameAt is a name inside the data.
func (r *Record) nameAt(at int) (name Name, end int, ok bool) {
	if at >= r.end {
		return Name{}, at, false
	}
	end, problem := readName(r.Name.msg, at)
	return Name{r.Name.msg, at}, end, problem == None && end <= r.end
}
