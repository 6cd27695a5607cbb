package engine

import (
	"slices"
	"time"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/engine/inspector"
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
	if !l.awaitPolicy() {
		for i := range batch {
			l.drop(batch[i].Packet()) // its sender sends it again, to whoever judges it then
		}
		return
	}
	if l.isAheadOfCopies(batch) {
		l.data.CatchUp()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batch {
		h := &batch[i]
		k := l.seen[h.ID]
		if k == nil && !h.Ended {
			// What was decided before, and not by what was found out here, has begun unseen.
			if k = l.lookAt(&h.Copy); k != nil {
				k.unseen = policy.Reason(h.Reason) != policy.ReasonPending
			}
		}
		if k == nil {
			l.heldCounts.ended++
			l.drop(h.Packet())
			continue
		}
		if k.hold == nil {
			k.hold = &holding{}
			l.holding[k.id] = k
		}
		k.unread = k.unread || h.Unread
		if k.tcp {
			l.heldSegment(k, h)
		} else {
			l.heldDatagram(k, h)
		}
		l.goOn(k)
		l.ease(h.Time)
	}
}

// goOn sends on what may go now, or ends the connection if that is due.
func (l *look) goOn(k *lookedAt) {
	l.release(k)
	if k.hold.ending && !l.inspector.AnswersDue(k.id) {
		l.end(k)
	}
}

// awaitPolicy waits for the policy by which the kernel has packets held. By the one before,
// what is forbidden now would pass; by none, all. It says whether there is one: where it did
// not come into force, or the engine ends before, there may be none.
func (l *look) awaitPolicy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.awaits {
		l.settled.Wait()
	}
	return l.version != nil
}

// isAheadOfCopies says whether there may be copies on their way that tell what any of the
// packets is judged by: the answer of DNS that led to a connection whose destination's
// names are asked for, what a connection has said that is held only now, or answers that
// have passed.
func (l *look) isAheadOfCopies(batch []datapath.Held) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batch {
		h := &batch[i]
		k := l.seen[h.ID]
		pending := policy.Reason(h.Reason) == policy.ReasonPending
		if k != nil && k.answersPass || !pending && (k == nil || k.hold == nil) || pending && k == nil && l.version.byName {
			return true
		}
	}
	return false
}

func (l *look) wait(k *lookedAt, end int, p heldPacket, now time.Time) {
	if k.hold.bytes == 0 {
		k.hold.since = now
	}
	p.came = now
	l.waits(k, 1, &p)
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
