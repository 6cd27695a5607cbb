package flow

import "github.com/weirnet/weir/internal/packet"

// opening is what a packet is to a tuple that is taken.
type opening uint8

const (
	continues opening = iota
	// candidate: a SYN that is no retransmission. The connection it wants begins
	// when it is answered.
	candidate
	// reopens: the old connection is over, and a new one begins.
	reopens
	// resumes: likewise, since nobody took the old one's end.
	resumes
)

// opening judges p, sent by end, on a connection that is closed or not, dropped or
// not. A blind attacker's SYN must not end a connection, nor have one begin.
func (s *tcpState) opening(p *packet.Packet, end int, closed, drop bool) opening {
	if isLater(p) || p.HasOddFlags || !flagged(p, packet.SYN) {
		return continues
	}
	repeated := s.of(tcpSYN, end) && p.Seq == s.end[end].initial
	if !flagged(p, packet.ACK) {
		switch {
		case repeated && closed && !drop:
			return candidate // some stacks try again with the same number after an RST
		case repeated:
			return continues
		case closed && end == source:
			// Against its direction other rules count, and whoever has the old connection
			// still would take what follows for that one's: it waits for its answer.
			return reopens
		case !closed && end == destination && s.of(tcpSYN, source) && !s.has(tcpAnswered) && !s.of(tcpSeen, destination):
			return continues // simultaneous open (RFC 9293 3.5)
		}
		return candidate
	}
	if !s.has(tcpCandidate) || s.candidateBy() == end || repeated {
		return continues
	}
	if !closed && end == destination && s.of(tcpSYN, source) && !s.has(tcpAnswered) && s.answersSYN(p.Ack) {
		return continues // the SYN that opened the entry is answered
	}
	if p.Ack != s.candidate && within(p.Ack, s.candidate, s.candidateAfter) {
		return reopens
	}
	return continues
}

// resumes says whether p, sent by end of a connection that it has reset, shows that
// nobody took the RST, since it had a wrong checksum, or went no further than here: the
// connection goes on. It says what it had not, or acknowledges it; a stack that resets
// says no more, and what an RST has overtaken is older. What is held says nothing after
// its end.
func (e *entry) resumes(p *packet.Packet, end int) bool {
	s := &e.tcp
	if !e.closed || e.drop || e.returns || e.prevent && e.reason == ReasonKept || !s.of(tcpReset, end) || p.Protocol != packet.TCP ||
		isLater(p) || flagged(p, packet.SYN|packet.RST) || p.HasOddFlags {
		return false
	}
	this, to := &s.end[end], segmentEnd(p)
	if p.PayloadLength > 0 && !after(p.Seq, this.high) && after(to, this.high) && to-this.high <= farthest {
		return true
	}
	return flagged(p, packet.ACK) && s.of(tcpAcks, end) && after(p.Ack, this.acked) && !after(p.Ack, s.end[end^1].high)
}

// resumed is the state of a connection that goes on after an RST.
func (s *tcpState) resumed() tcpState {
	const kept = 3*(tcpSeen|tcpSYN|tcpAcks) | tcpData | tcpAnswered
	n := tcpState{flags: s.flags & kept, end: s.end}
	for end := range n.end {
		n.end[end].fin = 0
	}
	return n
}

// isTurned says whether p is the SYN of the candidate, against the direction of s.
func (s *tcpState) isTurned(p *packet.Packet, end int) bool {
	return end == destination && p.Protocol == packet.TCP && !isLater(p) && !p.HasOddFlags &&
		p.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN && s.has(tcpCandidate) && s.candidateBy() == destination && p.Seq == s.candidate
}

func (s *tcpState) candidateBy() int {
	if s.has(tcpCandidateByDestination) {
		return destination
	}
	return source
}

// noteCandidate remembers a SYN that wants the tuple; counted says whether its
// packet was, on the connection that has it, and bare that its data was dropped: nobody
// acknowledges it.
func (s *tcpState) noteCandidate(p *packet.Packet, end int, counted, bare bool, now int64) {
	to := segmentEnd(p)
	if bare {
		to = p.Seq + 1
	}
	if end == source {
		s.flags |= tcpRivalSYN
	}
	if !s.has(tcpCandidate) || s.candidate != p.Seq || s.candidateBy() != end {
		s.flags |= tcpCandidate
		s.flags &^= tcpCandidateByDestination
		if end == destination {
			s.flags |= tcpCandidateByDestination
		}
		s.candidate, s.candidateAfter = p.Seq, to
		s.candidateFirst, s.candidateSent = now, Counts{}
	}
	if after(to, s.candidateAfter) {
		s.candidateAfter = to
	}
	if counted {
		s.candidateSent.add(p)
	}
}

// accepted is the state of the connection whose SYN was the candidate of s.
func (s *tcpState) accepted() tcpState {
	var n tcpState
	n.set(tcpSeen, source)
	n.set(tcpSYN, source)
	n.end[source] = tcpEnd{initial: s.candidate, next: s.candidateAfter, high: s.candidateAfter}
	return n
}

// processTurned takes a SYN that asks for a connection against the direction of e, where
// other rules count. What they drop does not become a candidate.
func (t *Tracker) processTurned(e *entry, high bool, p *packet.Packet, h *Hook, now int64, events []Event) (Result, []Event) {
	var first entry
	t.openEntry(&first, e.key, high, p, h, now)
	decision := t.judgeFirst(&first, p, continues, false, now)
	switch {
	case first.drop:
		return t.dropBeside(&first, decision, high, p, h, now, events)
	case first.held && t.hold.OnOpening:
		t.counters[SYNDropped]++ // there is no entry to hold it by
		return Result{Drop: true}, events
	}
	return t.processEntry(e, p, h, destination, candidate, now, events)
}

// reopen ends the connection of e and begins the one that p, a SYN or the answer
// to the candidate, opens on its tuple. A candidate's packets go with it. Or the one
// that p resumes.
func (t *Tracker) reopen(e *entry, what opening, high bool, p *packet.Packet, h *Hook, now int64, events []Event) (Result, []Event) {
	var next entry
	t.openEntry(&next, e.key, high, p, h, now)
	accepted := flagged(p, packet.ACK)
	if what == resumes {
		next.tcp = e.tcp.resumed()
		next.tuple, next.direction, next.sourceIsHigh = e.tuple, e.direction, e.sourceIsHigh
		next.neighbor, next.loopback, next.own = e.neighbor, e.loopback, e.own
		next.first = e.first // an RST makes it no younger
		next.hook, next.hookAt = e.hook, e.hookAt
		accepted = true
	} else if accepted {
		by := e.tcp.candidateBy()
		sent := e.tcp.candidateSent
		next.tcp = e.tcp.accepted()
		next.first = e.tcp.candidateFirst
		next.counted[source] = sent
		if e.hook[by] != 0 {
			next.hook[source], next.hookAt[source] = e.hook[by], e.hookAt[by]
			next.ifindex = e.hook[by] >> 1
		}
		if !e.endTold {
			e.counted[by].Packets -= sent.Packets
			e.counted[by].Bytes -= sent.Bytes
			e.last = e.lastOwn
		}
	}
	t.close(e, e.idleReason())
	events = e.finish(events) // the old one's end comes first
	decision := t.judgeFirst(&next, p, what, accepted, now)
	next.at = e.at
	*e = next
	t.active++
	t.countJudgement(e, decision)
	return t.processEntry(e, p, h, e.sender(high), continues, now, events)
}
