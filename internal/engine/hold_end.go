package engine

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/policy"
)

// cut drops what waits. Both ends of a TCP connection are told; of one that is not open
// yet the end that asks for it, if the policy rejects.
func (l *look) cut(k *lookedAt) {
	h := k.hold
	for end := range h.waiting {
		for i := range h.waiting[end] {
			p := &h.waiting[end][i]
			l.waits(k, -1, p)
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
		l.waits(k, -1, &p)
		h.waiting[0] = slices.Delete(h.waiting[0], 1, 2)
		l.heldCounts.blocked++
		l.drop(p.packet)
	}
}

// end cuts a connection whose last responses are through, or will not come.
func (l *look) end(k *lookedAt) {
	h := k.hold
	h.ending, h.allowed = false, false
	l.enter(k, &h.last)
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
		l.remembered -= k.hold.released[end].bytes
		for i := range k.hold.waiting[end] {
			p := &k.hold.waiting[end][i]
			l.waits(k, -1, p)
			l.heldCounts.ended++
			l.drop(p.packet)
		}
	}
	k.hold = nil
}

// handOn gives what waits to whoever holds next, which judges it again: in the order in
// which it came. What is blocked already, and waits for responses that are due, is cut:
// nobody would know.
func (l *look) handOn() (packets []*datapath.HeldPacket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []heldPacket
	for _, k := range l.holding {
		if k.hold.ending {
			l.end(k)
		}
		for end := range k.hold.waiting {
			for i := range k.hold.waiting[end] {
				l.waits(k, -1, &k.hold.waiting[end][i])
			}
			all = append(all, k.hold.waiting[end]...)
			k.hold.waiting[end] = nil
		}
	}
	slices.SortStableFunc(all, func(a, b heldPacket) int { return a.came.Compare(b.came) })
	for i := range all {
		packets = append(packets, all[i].packet)
	}
	return packets
}

// giveUp ends the wait of those that have waited too long: on_error answers.
func (l *look) giveUp(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write() // what the kernel was too busy for
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
