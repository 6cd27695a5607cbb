package main

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// frameSize is that of all frames that are sent: room for IPv6 and TCP, and a
// multiple of eight.
const frameSize = 80

// tuple is what tells one frame from another.
type tuple struct {
	source, destination netip.Addr
	sourcePort          uint16
	destinationPort     uint16
	flags               byte // of TCP
	seq, ack            uint32
	// mark is put into the traffic class; the sink counts by it.
	mark byte
}

const (
	syn = 0x02
	ack = 0x10
)

func (t tuple) reversed() tuple {
	t.source, t.destination = t.destination, t.source
	t.sourcePort, t.destinationPort = t.destinationPort, t.sourcePort
	return t
}

// frame is a TCP segment, with correct checksums. All are of one size: what a SYN
// leaves of it is padding, others carry it as data.
func (t tuple) frame() []byte {
	all := make([]byte, frameSize)
	b := all
	copy(b, macB)
	copy(b[6:], macA)
	if t.flags&syn != 0 {
		b = b[:14+20+20]
		if t.source.Is6() {
			b = all[:14+40+20]
		}
	}
	ip, pseudo := b[14:], uint32(6)
	var tcp []byte
	if t.source.Is4() {
		binary.BigEndian.PutUint16(b[12:], 0x0800)
		tcp = ip[20:]
		ip[0], ip[1], ip[8], ip[9] = 0x45, t.mark, 64, 6
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		s, d := t.source.As4(), t.destination.As4()
		copy(ip[12:], s[:])
		copy(ip[16:], d[:])
		binary.BigEndian.PutUint16(ip[10:], ^fold(sum(0, ip[:20])))
		pseudo = sum(pseudo, ip[12:20])
	} else {
		binary.BigEndian.PutUint16(b[12:], 0x86dd)
		tcp = ip[40:]
		ip[0], ip[6], ip[7] = 0x60, 6, 64
		ip[0] |= t.mark >> 4
		ip[1] = t.mark << 4
		binary.BigEndian.PutUint16(ip[4:], uint16(len(tcp)))
		s, d := t.source.As16(), t.destination.As16()
		copy(ip[8:], s[:])
		copy(ip[24:], d[:])
		pseudo = sum(pseudo, ip[8:40])
	}
	binary.BigEndian.PutUint16(tcp, t.sourcePort)
	binary.BigEndian.PutUint16(tcp[2:], t.destinationPort)
	binary.BigEndian.PutUint32(tcp[4:], t.seq)
	binary.BigEndian.PutUint32(tcp[8:], t.ack)
	tcp[12], tcp[13] = 0x50, t.flags
	binary.BigEndian.PutUint16(tcp[14:], 0xffff)
	binary.BigEndian.PutUint16(tcp[16:], ^fold(sum(pseudo+uint32(len(tcp)), tcp)))
	return all
}

func sum(s uint32, b []byte) uint32 {
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return s
}

func fold(s uint32) uint16 {
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// opening is a connection's first segment.
func opening(source, destination netip.Addr, from, to uint16) tuple {
	return tuple{source: source, destination: destination, sourcePort: from, destinationPort: to, flags: syn, seq: 100}
}

// handshake is what makes both ends known, and then a segment that goes on.
func (t tuple) handshake() []tuple {
	answer, last := t.reversed(), t
	answer.flags, answer.seq, answer.ack = syn|ack, 500, t.seq+1
	last.flags, last.seq, last.ack = ack, t.seq+1, 501
	return []tuple{t, answer, last}
}

func frames(tuples []tuple) [][]byte {
	out := make([][]byte, len(tuples))
	for i, t := range tuples {
		out[i] = t.frame()
	}
	return out
}

func address4(first byte, rest uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{first, byte(rest >> 16), byte(rest >> 8), byte(rest)})
}

func address6(n uint32) netip.Addr {
	a := netip.MustParseAddr("2001:db8::").As16()
	a[4], a[5], a[6], a[7], a[15] = byte(n), byte(n>>8), byte(n>>16), 1, 9
	return netip.AddrFrom16(a)
}

// scattered spreads i over 24 bits, each number once.
func scattered(i int) uint32 { return uint32(i) * 0x9e3779 & 0xffffff }

// random is the same in each run.
func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// someTuples are n different ones that no rule of the kinds is about.
func someTuples(n int) []tuple {
	r := random()
	out := make([]tuple, n)
	for i := range out {
		out[i] = opening(address4(12, uint32(i)), address4(10, r.Uint32()&0xffffff), uint16(1024+i%60000), 443)
	}
	return out
}
