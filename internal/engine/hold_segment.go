package engine

import (
	"bytes"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/packet"
)

// heldSegment shows a TCP segment to the inspector. It waits with the others of its
// end.
func (l *look) heldSegment(k *lookedAt, h *datapath.Held) {
	c := &h.Copy
	w := &k.hold.waiting[c.End]
	p := heldPacket{seq: c.Seq, end: c.Seq + uint32(len(c.Payload))}
	for _, flag := range [...]uint8{packet.SYN, packet.FIN} {
		if c.Flags&flag != 0 {
			p.end++
		}
	}
	if c.End == 0 && k.answersPass && k.credit[1] < answerCredit/2 {
		l.list(k)
	}
	k.hold.acked, k.hold.hasAcked = c.Acked, c.HasAcked
	r := &k.hold.released[c.End]
	if c.HasAcked[c.End^1] {
		l.acknowledge(r, c.Acked[c.End^1])
	}
	resent, known := r.compare(c.Seq, c.Payload)
	switch {
	case resent == another && !l.needsNone(k, c.End):
		l.heldCounts.suspect++
		l.drop(h.Packet())
		return
	case resent == same:
		// It was lost further on. Nobody may remember any more what was judged.
		if c.Flags&(packet.SYN|packet.FIN|packet.RST|packet.URG) == 0 {
			l.sendOn(h.Packet())
			return
		}
	case resent == fresh && known > 0 && known < len(c.Payload) && c.Flags&packet.SYN == 0:
		// The rest is new, and all that is to be judged.
		c.Seq, c.Payload = c.Seq+uint32(known), c.Payload[known:]
	}
	if contradicts(*w, c) && !l.needsNone(k, c.End) {
		// The inspector may not have the first any more, and would judge the second.
		l.inspector.Contradict(k.id, c.End, c.Time)
		l.take()
		l.heldCounts.suspect++
		l.drop(h.Packet())
		return
	}
	for i := range *w {
		if (*w)[i].seq == p.seq && (*w)[i].end == p.end {
			l.show(k, c) // it may have been given up there
			l.showAgain(k, c)
			l.heldCounts.repeated++
			l.drop(h.Packet())
			return
		}
	}
	if !k.hasRoom(c.End, p.seq) {
		// What is judged is what waits, so that it is not shown either.
		l.heldCounts.overLimit++
		l.drop(h.Packet())
		return
	}
	l.show(k, c)
	if l.inspector.Suspect() && !l.needsNone(k, c.End) {
		l.heldCounts.suspect++
		l.drop(h.Packet())
		return
	}
	p.packet = h.Take()
	l.wait(k, c.End, p, c.Time)
	l.showAgain(k, c)
}

// hasRoom says whether a segment may wait that begins at seq. One that comes before all
// that wait may do so beyond the bounds: it is what they wait for.
func (k *lookedAt) hasRoom(end int, seq uint32) bool {
	w := k.hold.waiting[end]
	if len(w) < maxHeldPackets && k.hold.bytes < maxHeldBytes {
		return true
	}
	return len(w) > 0 && int32(w[0].seq-seq) > 0 && len(w) < 2*maxHeldPackets && k.hold.bytes < 2*maxHeldBytes
}

// heldCopy shows a segment to the inspector that has passed: an answer, or what tells that
// half of a window is used. What waits may go on by it.
func (l *look) heldCopy(c *datapath.Copy) {
	k := l.seen[c.ID]
	if k == nil || k.hold == nil {
		return
	}
	if c.End == 1 {
		k.credit[1] -= len(c.Payload)
	}
	k.hold.acked, k.hold.hasAcked = c.Acked, c.HasAcked
	if c.HasAcked[c.End^1] {
		l.acknowledge(&k.hold.released[c.End], c.Acked[c.End^1])
	}
	l.show(k, c)
	l.showAgain(k, c)
	l.goOn(k)
}

// showAgain shows what waits of an end once more, as far as the inspector had no room for
// it when it came: out of order, behind a hole that the packet at hand has filled. Its
// sender would send it again one by one, if at all.
func (l *look) showAgain(k *lookedAt, c *datapath.Copy) {
	w := k.hold.waiting[c.End]
	for i := range w {
		p := &w[i]
		next, ok := l.inspector.Awaited(k.id, c.End)
		switch {
		case !ok || int32(p.seq-next) > 0:
			return
		case int32(p.end-next) <= 0:
			continue
		}
		again := *c
		again.Seq, again.Flags, again.Payload = p.seq, p.packet.Flags(), p.packet.Payload()
		l.show(k, &again)
	}
}

// contradicts says whether a segment has another content than one that waits.
func contradicts(waiting []heldPacket, c *datapath.Copy) bool {
	from := payloadAt(c.Seq, c.Flags)
	for i := range waiting {
		w := &waiting[i]
		payload := w.packet.Payload()
		at := payloadAt(w.seq, w.packet.Flags())
		// What both have lies at these places of each.
		here, there := int(max(0, int32(at-from))), int(max(0, int32(from-at)))
		if n := min(len(c.Payload)-here, len(payload)-there); n > 0 && !bytes.Equal(c.Payload[here:here+n], payload[there:there+n]) {
			return true
		}
	}
	return false
}

// payloadAt is the number of the first byte that a segment carries.
func payloadAt(seq uint32, flags uint8) uint32 {
	if flags&packet.SYN != 0 {
		return seq + 1
	}
	return seq
}

// needsNone says whether nothing that an end sends waits for a verdict, so that it does
// not matter what its receiver makes of it.
func (l *look) needsNone(k *lookedAt, end int) bool {
	if k.hold.blocked || k.hold.ending && end == 0 {
		return false
	}
	_, how := l.judged(k, end)
	return how == inspector.All
}
