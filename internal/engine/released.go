package engine

import "bytes"

// released is what an end's packets held that were sent on, as long as their receiver
// may not have it: whoever sends it again with another content would have the receiver
// read what nobody judged. Before it lies what the receiver has acknowledged, or
// what is no longer kept.
type released struct {
	begun bool
	acked uint32 // the receiver has all before it
	from  uint32 // the sequence number of bytes[0]
	bytes []byte
}

// maxReleased bounds what is kept of one end. What came before that cannot be
// compared, and does not pass a second time.
const maxReleased = 256 << 10

// add notes bytes that are sent on, each behind the last.
func (r *released) add(seq uint32, payload []byte) {
	if len(payload) == 0 {
		return
	}
	if !r.begun {
		r.begun, r.acked, r.from = true, seq, seq
	}
	at := int64(int32(seq - r.from))
	switch {
	case at < 0: // acknowledged, or compared
	case at > int64(len(r.bytes)):
		// What lies between was passed by the kernel, and is not known here.
		r.from, r.bytes = seq, append(r.bytes[:0], payload...)
	case at+int64(len(payload)) > int64(len(r.bytes)):
		r.bytes = append(r.bytes[:at], payload...)
	}
	if over := len(r.bytes) - maxReleased; over > 0 {
		r.drop(over)
	}
}

// end is the number behind all that was sent on.
func (r *released) end() uint32 { return r.from + uint32(len(r.bytes)) }

func (r *released) drop(n int) {
	r.from += uint32(n)
	r.bytes = append(r.bytes[:0], r.bytes[n:]...)
}

// acknowledge forgets what the receiver has.
func (r *released) acknowledge(ack uint32) {
	if !r.begun || int32(ack-r.acked) <= 0 {
		return
	}
	r.acked = ack
	if n := int64(int32(ack - r.from)); n > 0 {
		r.drop(int(min(n, int64(len(r.bytes)))))
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
// may still take them.
func (r *released) compare(seq uint32, payload []byte) resent {
	if !r.begun || len(payload) == 0 {
		return fresh
	}
	all := same
	if n := int64(int32(r.acked - seq)); n > 0 {
		n = min(n, int64(len(payload)))
		seq, payload, all = seq+uint32(n), payload[n:], fresh
	}
	at := int64(int32(seq - r.from))
	switch {
	case len(payload) == 0:
		return fresh
	case at < 0:
		return another // not kept
	case at >= int64(len(r.bytes)):
		return fresh
	}
	n := min(int64(len(payload)), int64(len(r.bytes))-at)
	switch {
	case !bytes.Equal(payload[:n], r.bytes[at:at+n]):
		return another
	case n < int64(len(payload)):
		return fresh
	}
	return all
}
