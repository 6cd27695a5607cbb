package engine

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// holding is what is held of a connection: packets that wait in user space until what
// is in them is judged. Those that are released are sent on as they came.
type holding struct {
	waiting [2][]heldPacket
	bytes   int // of the packets that wait
	// since is when the first of those that wait came.
	since    time.Time
	released [2]released
	// allowed: the kernel has taken the verdict. blocked: it is to be cut, or was.
	allowed, blocked bool
	// reset: its ends were told.
	reset bool
	// rejects: who asks for the connection is to be answered when it is blocked.
	rejects bool
	// ending: it is blocked for a request behind others that were allowed. When their
	// responses are through, last is written into the kernel.
	ending      bool
	endingSince time.Time
	last        inspector.Settlement
	// acked is what each end has acknowledged, as far as it is known.
	acked    [2]uint32
	hasAcked [2]bool
}

// heldPacket is a packet that waits. Its payload lies in [seq, end).
type heldPacket struct {
	packet   *datapath.HeldPacket
	seq, end uint32
	came     time.Time
}

// Bounds of what waits of one connection.
const (
	maxHeldPackets = 4096
	maxHeldBytes   = 1 << 20
)

// held takes packets that the kernel holds.
func (l *look) held(batch []datapath.Held) {
	if l.opensByName(batch) {
		// The answer that led to the connection may be on its way here, as a copy.
		l.data.CatchUp()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batch {
		h := &batch[i]
		k := l.lookAt(&h.Copy)
		if k == nil {
			l.heldCounts.ended++
			l.drop(h.Packet())
			continue
		}
		if k.hold == nil {
			k.hold = &holding{}
			l.holding[k.id] = k
		}
		if k.tcp {
			l.heldSegment(k, h)
		} else {
			l.heldDatagram(k, h)
		}
		l.release(k)
		if k.hold.ending && !l.inspector.AnswersDue(k.id) {
			l.end(k)
		}
	}
}

// opensByName says whether any of the packets opens a connection whose destination's
// names are asked for.
func (l *look) opensByName(batch []datapath.Held) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.version == nil || !l.version.byName {
		return false
	}
	return slices.ContainsFunc(batch, func(h datapath.Held) bool { return l.seen[h.ID] == nil })
}

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
	k.hold.acked, k.hold.hasAcked = c.Acked, c.HasAcked
	r := &k.hold.released[c.End]
	if c.HasAcked[c.End^1] {
		r.acknowledge(c.Acked[c.End^1])
	}
	resent := r.compare(c.Seq, c.Payload)
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
	}
	for i := range *w {
		if (*w)[i].seq == p.seq && (*w)[i].end == p.end {
			// The inspector compares the two.
			l.show(k, c)
			l.heldCounts.repeated++
			l.drop(h.Packet())
			return
		}
	}
	if len(*w) >= maxHeldPackets || k.hold.bytes >= maxHeldBytes {
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

func (l *look) wait(k *lookedAt, end int, p heldPacket, now time.Time) {
	if k.hold.bytes == 0 {
		k.hold.since = now
	}
	p.came = now
	k.hold.bytes += p.packet.Size()
	w := k.hold.waiting[end]
	at := len(w)
	for k.tcp && at > 0 && int32(w[at-1].seq-p.seq) > 0 {
		at-- // they are sent on in the order of the stream
	}
	k.hold.waiting[end] = slices.Insert(w, at, p)
}

// heldDatagram shows a datagram to the inspector: a query is judged by itself, and of
// others the connection is. Several in one packet go together, or not at all.
func (l *look) heldDatagram(k *lookedAt, h *datapath.Held) {
	c := h.Copy
	var action policy.Action
	for rest := h.Payload; ; {
		n := len(rest)
		if h.Segment > 0 {
			n = min(n, h.Segment)
		}
		c.Payload, rest = rest[:n], rest[n:]
		if one := l.show(k, &c); action != policy.Block {
			action = one
		}
		if len(rest) == 0 {
			break
		}
	}
	switch {
	case action == policy.Allow:
		l.sendOn(h.Packet())
	case action == policy.Block:
		l.heldCounts.blocked++
		l.drop(h.Packet())
	case len(k.hold.waiting[c.End]) >= maxHeldPackets:
		l.heldCounts.overLimit++
		l.drop(h.Packet())
	default:
		l.wait(k, c.End, heldPacket{packet: h.Take()}, c.Time)
	}
}

// show shows a packet to the inspector, and writes what it finds into the kernel.
// What waits of the connection stays until the packet is among it.
func (l *look) show(k *lookedAt, c *datapath.Copy) policy.Action {
	of, p := packetOf(k, c)
	l.showing = k
	action := l.inspector.Packet(&of, &p)
	l.take()
	l.showing = nil
	return action
}

// release sends on what may go, or cuts the connection.
func (l *look) release(k *lookedAt) {
	h := k.hold
	if h == nil {
		return
	}
	if h.blocked {
		l.cut(k)
		return
	}
	for end := range 2 {
		w := h.waiting[end]
		until, how := l.judged(k, end)
		kept := w[:0]
		for _, p := range w {
			if how == inspector.Nothing || how == inspector.Part && int32(p.end-until) > 0 {
				if h.ending && how == inspector.Part {
					l.sendBeginning(k, end, &p, until)
				}
				kept = append(kept, p)
				continue
			}
			h.bytes -= p.packet.Size()
			if k.tcp {
				h.released[end].add(p.seq, p.packet.Payload())
			}
			l.heldCounts.waited += time.Since(p.came)
			l.sendOn(p.packet)
		}
		clear(w[len(kept):])
		h.waiting[end] = kept
	}
	if h.ending {
		l.withhold(k)
	}
	h.since = h.oldest()
}

// judged is how far an end's packets may go on.
func (l *look) judged(k *lookedAt, end int) (until uint32, how inspector.Extent) {
	switch {
	case k.hold.ending && end == 1, k.hold.allowed && !k.tcp, end == 1 && !k.tcp:
		return 0, inspector.All
	case !k.tcp:
		return 0, inspector.Nothing
	}
	return l.inspector.Judged(k.id, end)
}

// oldest is when the first came of those that wait; zero: none does.
func (h *holding) oldest() (first time.Time) {
	for end := range h.waiting {
		for i := range h.waiting[end] {
			if came := h.waiting[end][i].came; first.IsZero() || came.Before(first) {
				first = came
			}
		}
	}
	return first
}

// sendBeginning sends on what a packet has of requests before one that is blocked.
func (l *look) sendBeginning(k *lookedAt, end int, p *heldPacket, until uint32) {
	n, r := int(int32(until-p.seq)), &k.hold.released[end]
	if n <= 0 || n >= len(p.packet.Payload()) || p.packet.IsOpening() || r.begun && int32(r.end()-until) >= 0 {
		return
	}
	if err := l.data.ReleaseBeginning(p.packet, n); err != nil {
		l.log.Debug("The beginning of a packet that was held cannot be sent on.", zap.Error(err))
		return
	}
	r.add(p.seq, p.packet.Payload()[:n])
}

func (l *look) sendOn(p *datapath.HeldPacket) {
	if err := l.data.Release(p); err != nil {
		l.heldCounts.unreleased++
		l.log.Debug("A packet that was held cannot be sent on.", zap.Error(err))
		return
	}
	l.heldCounts.released++
}

func (l *look) drop(p *datapath.HeldPacket) {
	if err := l.data.Drop(p); err != nil {
		l.log.Debug("The kernel cannot be told of a packet that was held and is dropped.", zap.Error(err))
	}
}

// cut drops what waits. Both ends of a TCP connection are told; of one that is not open
// yet the end that asks for it, if the policy rejects.
func (l *look) cut(k *lookedAt) {
	h := k.hold
	for end := range h.waiting {
		for _, p := range h.waiting[end] {
			l.heldCounts.blocked++
			if p.packet.IsOpening() && h.rejects {
				if err := l.data.Refuse(p.packet); err != nil {
					l.log.Debug("A connection that is blocked cannot be refused.", zap.Error(err))
				}
				continue
			}
			if k.tcp && !h.reset && !p.packet.IsOpening() {
				h.reset = true
				if err := l.data.Reset(p.packet, k.expected(end, p.seq)); err != nil {
					l.log.Debug("A connection that is cut cannot be reset.", zap.Error(err))
				}
				continue
			}
			l.drop(p.packet)
		}
		h.waiting[end] = nil
	}
	h.bytes = 0
}

// expected is the number of the byte that the receiver of an end's packets expects next,
// where the first that waits has the number seq.
func (k *lookedAt) expected(end int, seq uint32) uint32 {
	h := k.hold
	if k.skipped[end] || !h.hasAcked[end^1] {
		return seq // what came before may have passed
	}
	next := h.acked[end^1]
	if r := &h.released[end]; r.begun && int32(r.end()-next) > 0 {
		next = r.end()
	}
	if int32(next-seq) > 0 {
		return seq
	}
	return next
}

// withhold drops what the client has sent of a connection that is ending, but for a
// packet that its end is told by.
func (l *look) withhold(k *lookedAt) {
	h := k.hold
	for len(h.waiting[0]) > 1 {
		p := h.waiting[0][1]
		h.waiting[0] = slices.Delete(h.waiting[0], 1, 2)
		h.bytes -= p.packet.Size()
		l.heldCounts.blocked++
		l.drop(p.packet)
	}
}

// end cuts a connection whose last responses are through, or will not come.
func (l *look) end(k *lookedAt) {
	h := k.hold
	h.ending, h.allowed = false, false
	l.settle(&h.last)
	l.write()
}

// letGo drops what waits of a connection that is over.
func (l *look) letGo(k *lookedAt) {
	delete(l.seen, k.id)
	delete(l.holding, k.id)
	if k.hold == nil {
		return
	}
	for end := range k.hold.waiting {
		for _, p := range k.hold.waiting[end] {
			l.heldCounts.ended++
			l.drop(p.packet)
		}
	}
	k.hold = nil
}

// giveUp ends the wait of those that have waited too long: on_error answers.
func (l *look) giveUp(now time.Time) {
	for _, k := range l.holding {
		h := k.hold
		if h.ending && now.Sub(h.endingSince) > l.maxWait {
			l.end(k)
			continue
		}
		if h.bytes > 0 && now.Sub(h.since) > l.maxWait {
			l.inspector.GiveUp(k.id, policy.Limit, now)
			l.take()
			l.release(k)
		}
	}
}
