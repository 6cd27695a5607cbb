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

// agrees says whether bytes are those that were sent on, as far as they lie where
// those did and their receiver may still take them.
func (r *released) agrees(seq uint32, payload []byte) bool {
	if !r.begun {
		return true
	}
	if n := int64(int32(r.acked - seq)); n > 0 {
		n = min(n, int64(len(payload)))
		seq, payload = seq+uint32(n), payload[n:]
	}
	if len(payload) == 0 {
		return true
	}
	at := int64(int32(seq - r.from))
	if at < 0 {
		return false // not kept
	}
	if at >= int64(len(r.bytes)) {
		return true // new
	}
	n := min(int64(len(payload)), int64(len(r.bytes))-at)
	return bytes.Equal(payload[:n], r.bytes[at:at+n])
}
