// Package stream puts the segments of TCP connections in order, within bounds,
// for parsers that read what each end has sent.
//
// Places in a stream are offsets of 64 bits from its first byte, which is the one
// after the SYN; where no SYN was seen, the first byte that was. Each byte is
// handed on once, in order. The first copy of a byte counts; another copy with
// other content is told (Conflict), since the receiver may have taken either. What
// is missing is told as a Hole with its size, once the receiver has acknowledged
// more than that, or nothing can fill it any more. Whatever is given up is counted
// by its cause (Counter).
//
// A segment that comes in order is handed on as it is, neither copied nor
// allocated for. Only what is left of it, when the caller is through (Hold), is
// copied, into buffers of a Budget that all connections share.
//
// gopacket's tcpassembly and reassembly were weighed and not taken: of two copies
// with different content both take one without a word, both look for a segment's
// place along a list (in reassembly 10,000 segments in reverse order took seconds),
// and their only bound over all streams is one that a single sender can use up. In
// order, reassembly took several times as long for a segment.
package stream
