package flow

import "github.com/weirnet/weir/internal/packet"

// openFollower makes the entry of a tuple that a packet bears which was judged
// where it came in: it was translated on its way. It lets the replies pass, which
// are judged and counted where they bear the first tuple again.
func (t *Tracker) openFollower(k key, high bool) *entry {
	if len(t.entries) >= t.config.MaxEntries {
		t.counters[TableFull]++
		return nil
	}
	return t.insert(entry{key: k, follower: true, sourceIsHigh: high, action: Allow})
}

func (t *Tracker) processFollower(e *entry, k key, high bool, p *packet.Packet, h *Hook, now int64, events []Event) (Result, []Event) {
	if h.Judged || p.Protocol != packet.TCP || isLater(p) || p.HasOddFlags || p.TCPFlags&(packet.SYN|packet.ACK) != packet.SYN {
		e.follow(p, high, now)
		return Result{}, events
	}
	// A SYN from outside is no reply and is judged all the same.
	var first entry
	t.openEntry(&first, k, high, p, h, now)
	decision := t.judgeFirst(&first, p, continues, false, now)
	if first.drop {
		return t.dropBeside(&first, decision, high, p, h, now, events)
	}
	first.at = e.at
	*e = first
	t.active++
	t.countJudgement(e, decision)
	return t.processEntry(e, p, h, e.sender(high), continues, now, events)
}

// dropBeside drops a SYN on a tuple that a follower has, or a connection in the other
// direction: it is told of, and leaves these be. Whoever guesses a port would else cut
// them.
func (t *Tracker) dropBeside(first *entry, d decision, high bool, p *packet.Packet, h *Hook, now int64, events []Event) (Result, []Event) {
	t.active++
	t.countJudgement(first, d)
	t.close(first, EndBlocked)
	return t.processEntry(first, p, h, first.sender(high), continues, now, events)
}

// follow notes a packet of a follower, which ends when what it follows does.
func (e *entry) follow(p *packet.Packet, high bool, now int64) {
	e.last = now
	if p.Protocol != packet.TCP || isLater(p) {
		return
	}
	end := e.sender(high)
	switch e.tcp.opening(p, end, e.closed, false) {
	case candidate:
		e.tcp.noteCandidate(p, end, false, false, now)
		return
	case reopens:
		var next tcpState
		e.sourceIsHigh = high
		if flagged(p, packet.ACK) {
			next = e.tcp.accepted()
			e.sourceIsHigh = !high
		}
		e.tcp, e.closed = next, false
		end = e.sender(high)
	}
	if e.tcp.track(p, end) != EndNone {
		e.closed = true
	}
	e.tcp.settle(end)
}
