package stream

import (
	"math"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// window is the largest that a receiver can offer (RFC 7323 2.3).
const window = 1 << 30

// Stream is what one end of a connection sends. Conversation.Open begins it.
//
//	stream.Segment(seq, flags, payload)
//	for {
//		for data := stream.Next(); data != nil; data = stream.Next() {
//			stream.Consume(parser.Read(end, data))
//			stream.Skip(parser.Skip(end))
//		}
//		hole, ok := stream.Hole()
//		if !ok {
//			break
//		}
//		parser.Gap(end, hole.Length)
//		stream.SkipHole()
//	}
//	stream.Hold() // before payload is used for something else
//	if stream.Closed() { … }
type Stream struct {
	conversation *Conversation // its source is nil when the connection is released
	budget       *Budget
	charged      rank // bytes of memory

	// pieces are what is held, by place; they do not overlap. The first copy of a
	// byte is in a piece, or else in the segment.
	pieces []piece
	// segment is what is new of the segment that is being read: from segmentAt on,
	// and only where there is no piece.
	segment   []byte
	segmentAt uint64

	base    uint32 // the sequence number of offset 0
	other   uint32 // valid with hasOther: what it is by another SYN
	waiting int    // bytes of pieces from want on
	want    uint64 // the next byte for the caller
	offered uint64 // before it, all were offered since the last that was consumed
	kept    uint64 // the end of the last that were consumed
	next    uint64 // before it, nothing is missing that may still come
	high    uint64 // the end of the furthest that came
	acked   uint64 // the receiver has all before it
	ahead   uint64 // so many it says that it has, but they were not seen
	settled uint64 // before it, what is missing is not waited for
	end     uint64 // valid with hasEnd, and with maybeReset
	differs uint64 // valid with hasConflict: the first byte that came with two contents
	lost    span   // around all that was given up, not before next
	cause   policy.Cause

	unsure uint64 // a hole that ends here has an unknown size, since numbers may have wrapped
	state  state
}

type state uint16

const (
	begun       state = 1 << iota
	fromStart         // the SYN was seen, or follows from its answer
	acks              // the receiver's acknowledgments are seen
	hasEnd            // end is where a FIN or a reset is
	isReset           // there will be no more, wherever the stream stands
	maybeReset        // an RST at end, which is ahead of next
	hasConflict       // differs is valid
	hasOther          // other is valid
)

type span struct{ from, to uint64 }

// Events say what a segment was.
type Events uint16

// The events.
const (
	New        Events = 1 << iota // it has bytes that did not come before
	OutOfOrder                    // they begin behind a hole
	Again                         // it has bytes that came before
	Conflict                      // some of them with other content
	AfterEnd                      // it has bytes beyond a FIN or a reset, or its FIN is not the stream's end
	Urgent                        // it has urgent data, which the receiver may take out
	Unchecked                     // it has bytes that came before, or may have, unacknowledged, and no copy of them is left to compare
	Ended                         // the stream has its end now, though bytes before it may be missing
	Stray                         // it is none the receiver takes: a SYN or an RST out of place, before the first byte, or too far ahead
	Gone                          // the connection is released, or was evicted
)

// Malformed are the events after which nobody knows what the receiver reads. Who
// must know adds Unchecked, which honest retransmissions have too.
const Malformed = Conflict | AfterEnd | Urgent

// Result is what a segment brought.
type Result struct {
	Events Events
	// Differing and At are valid with Conflict: the number of bytes that differ, and
	// the offset of the first.
	Differing int
	At        uint64
}

// Segment takes a segment: its sequence number, its flags (packet.SYN and so on),
// and its payload, of any length. The payload must stay as it is until Hold.
func (s *Stream) Segment(seq uint32, flags uint8, payload []byte) (r Result) {
	b := s.budget
	b.count(Segments, 1)
	b.count(Bytes, uint64(len(payload)))
	if s.conversation.source == nil {
		b.count(Ignored, uint64(len(payload)))
		return Result{Events: Gone}
	}
	s.Hold()
	if flags&packet.SYN != 0 {
		seq++
		if !s.synchronize(seq) {
			b.count(StraySYN, 1)
			b.count(Ignored, uint64(len(payload)))
			return Result{Events: Stray}
		}
	}
	if s.state&begun == 0 {
		if len(payload) == 0 && flags&packet.FIN == 0 {
			return r // an acknowledgment or a probe may bear the number before its next byte
		}
		s.begin(seq)
		b.count(Midstream, 1)
	}
	if flags&packet.URG != 0 && len(payload) > 0 {
		b.count(UrgentSegments, 1)
		r.Events |= Urgent
	}
	at := s.offset(seq)
	if len(payload) > 0 {
		s.payload(at, payload, flags, &r)
	}
	if flags&(packet.FIN|packet.RST) != 0 {
		s.finish(at+int64(len(payload)), flags, &r)
	}
	return r
}

// begin makes the byte of a sequence number the stream's first.
func (s *Stream) begin(seq uint32) {
	s.base = seq
	s.state |= begun
}

// synchronize takes a SYN; false for that of another connection.
func (s *Stream) synchronize(first uint32) bool {
	if s.state&begun == 0 {
		s.begin(first)
	}
	if first != s.base {
		if s.high == 0 && s.state&(acks|hasEnd) == 0 {
			s.other = first
			s.state |= hasOther
		}
		return false
	}
	s.state |= fromStart
	return true
}

// choose takes the receiver's first acknowledgment, where a SYN was answered twice, with
// different numbers (SYN cookies, two servers): it tells which answer was taken.
func (s *Stream) choose(ack uint32) {
	if s.state&hasOther == 0 || s.high > 0 || s.state&(acks|hasEnd) != 0 {
		return
	}
	if ack == s.other {
		s.base = s.other
		s.state &^= hasOther
	}
}

// offset is the place of a sequence number; negative before the first byte.
func (s *Stream) offset(seq uint32) int64 {
	return int64(s.next) + int64(int32(seq-s.base-uint32(s.next)))
}

// Sequence is the sequence number of an offset.
func (s *Stream) Sequence(offset uint64) uint32 { return s.base + uint32(offset) }

// Begun says whether anything was seen of the stream.
func (s *Stream) Begun() bool { return s.state&begun != 0 }

// FromStart says whether offset 0 is the first byte that the end has sent. What
// came before it otherwise was not seen.
func (s *Stream) FromStart() bool { return s.state&fromStart != 0 }

// Offset is the place of the next byte for the caller.
func (s *Stream) Offset() uint64 { return s.want }

// Waiting is the number of bytes that are held and were not read.
func (s *Stream) Waiting() int { return s.waiting }

// Conflict returns the lowest offset that came with two contents.
func (s *Stream) Conflict() (offset uint64, ok bool) {
	return s.differs, s.state&hasConflict != 0
}

func (s *Stream) segmentEnd() uint64 { return s.segmentAt + uint64(len(s.segment)) }

// below is from, less n, but not less than 0.
func below(from uint64, n int) uint64 { return from - min(from, uint64(n)) }

// beyond is from and n more, as far as there are numbers.
func beyond(from, n uint64) uint64 {
	if n > math.MaxUint64-from {
		return math.MaxUint64
	}
	return from + n
}
