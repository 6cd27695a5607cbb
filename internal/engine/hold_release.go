package engine

import (
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/engine/inspector"
)

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
			l.waits(k, -1, &p)
			if k.tcp {
				l.remember(&h.released[end], p.seq, p.packet.Payload())
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
	l.remember(r, p.seq, p.packet.Payload()[:n])
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
