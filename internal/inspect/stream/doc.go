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
// gopacket's tcpassembly and reassembly were weighed and not taken: both take one
// of two copies of different content without a word, look for a segment's place
// from the end of a list of unbounded length unless pages are limited, never give
// pages back, and share one limit among all connections, so that one sender can
// have it all.
package stream
