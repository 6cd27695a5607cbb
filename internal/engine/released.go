package engine

import "bytes"

// released is what an end's packets held that were sent on, as long as their receiver
// may not have it: whoever sends it again with another content would have the receiver
// read what nobody judged. What lies between two pieces has passed the kernel by a
// window: nobody is interested in its content. Before all lies what the receiver has
// acknowledged, or what is no longer kept.
type released struct {
	begun  bool
	acked  uint32 // the receiver has all before it
	pieces []releasedPiece
	bytes  int // of all pieces
}

// releasedPiece is what was sent on without a hole, from a sequence number on.
type releasedPiece struct {
	from  uint32
	bytes []byte
}

func (p *releasedPiece) end() uint32 { return p.from + uint32(len(p.bytes)) }

// Bounds of what is kept of one end: as much as a sender has under way, or little where
// much is kept of all together. What came before that cannot be compared, and does not
// pass a second time.
const (
	maxReleased       = 4 << 20
	minReleased       = 16 << 10
	maxReleasedOfAll  = 128 << 20
	maxReleasedPieces = 4096
)

// remember notes what is sent on of an end.
func (l *look) remember(r *released, seq uint32, payload []byte) {
	most := maxReleased
	if l.remembered > l.mostRemembered {
		most = minReleased
	}
	before := r.bytes
	r.add(seq, payload, most)
	l.remembered += r.bytes - before
}

// acknowledge forgets what the receiver has.
func (l *look) acknowledge(r *released, ack uint32) {
	before := r.bytes
	r.acknowledge(ack)
	l.remembered += r.bytes - before
}

// add notes bytes that are sent on, in the order of the stream, and keeps `most`.
func (r *released) add(seq uint32, payload []byte, most int) {
	if len(payload) == 0 {
		return
	}
	if !r.begun {
		r.begun, r.acked = true, seq
	}
	if len(r.pieces) > 0 {
		last := &r.pieces[len(r.pieces)-1]
		at := int64(int32(seq - last.from))
		switch known := int64(len(last.bytes)) - at; {
		case at < 0 || known >= int64(len(payload)):
			return // it was compared
		case known >= 0:
			last.bytes = append(last.bytes, payload[known:]...)
			r.bytes += len(payload) - int(known)
			r.bound(most)
			return
		}
	}
	r.pieces = append(r.pieces, releasedPiece{seq, bytes.Clone(payload)})
	r.bytes += len(payload)
	r.bound(most)
}

// bound gives up what is too much, the oldest first.
func (r *released) bound(most int) {
	for r.bytes > most || len(r.pieces) > maxReleasedPieces {
		r.drop(min(len(r.pieces[0].bytes), max(r.bytes-most, 1)))
	}
}

// drop forgets the first n bytes of the first piece.
func (r *released) drop(n int) {
	p := &r.pieces[0]
	r.bytes -= n
	if p.from, p.bytes = p.from+uint32(n), p.bytes[n:]; len(p.bytes) == 0 {
		*p = releasedPiece{} // what is behind it is copied now and then, when there is more
		r.pieces = r.pieces[1:]
	}
}

// end is the number behind all that was sent on.
func (r *released) end() uint32 {
	if len(r.pieces) == 0 {
		return r.acked
	}
	return r.pieces[len(r.pieces)-1].end()
}

// acknowledge forgets what the receiver has.
func (r *released) acknowledge(ack uint32) {
	if !r.begun || int32(ack-r.acked) <= 0 {
		return
	}
	r.acked = ack
	for len(r.pieces) > 0 {
		n := int64(int32(ack - r.pieces[0].from))
		if n <= 0 {
			return
		}
		r.drop(int(min(n, int64(len(r.pieces[0].bytes)))))
	}
}

// resent is how bytes relate to those that were sent on.
type resent uint8

const (
	fresh   resent = iota // not all were sent on, or their receiver has some; the others are the same
	same                  // all were sent on
	another               // some had another content, or may have had
)

// compare says how bytes relate to those that were sent on, as far as their receiver
// may still take them, and how many of them, from the first on, are no news.
func (r *released) compare(seq uint32, payload []byte) (is resent, known int) {
	if !r.begun || len(payload) == 0 {
		return fresh, 0
	}
	is = same
	if n := int64(int32(r.acked - seq)); n > 0 {
		known, is = int(min(n, int64(len(payload)))), fresh
	}
	if known == len(payload) {
		return fresh, known
	}
	if len(r.pieces) == 0 || int32(seq+uint32(known)-r.end()) >= 0 {
		return fresh, known
	}
	if int32(seq+uint32(known)-r.pieces[0].from) < 0 {
		return another, known // not kept
	}
	for i := range r.pieces {
		p := &r.pieces[i]
		at := int64(int32(seq - p.from)) // of the payload, in the piece
		from, to := max(int64(known), -at), min(int64(len(payload)), int64(len(p.bytes))-at)
		if from < to && !bytes.Equal(payload[from:to], p.bytes[at+from:at+to]) {
			return another, known
		}
	}
	if n := int64(int32(r.end() - seq)); n < int64(len(payload)) {
		return fresh, int(n)
	}
	return is, len(payload)
}
