package flow

import "github.com/weirnet/weir/internal/packet"

// tcpState is where a TCP connection stands, as far as opening, closing and reset
// need it. Only segments that the receiver is certain to process move it, so that
// a blind attacker (RFC 5961) neither ends an entry nor shifts what is expected:
// there are as many guesses as sequence numbers.
type tcpState struct {
	flags tcpFlags
	end   [2]tcpEnd
	// The SYN that wants the tuple (tcpCandidate): its sequence number and the
	// number after its data, and when and what was seen of it.
	candidate      uint32
	candidateAfter uint32
	candidateFirst int64
	candidateSent  Counts
}

type tcpEnd struct {
	initial uint32 // valid with tcpSYN: the sequence number of its SYN
	next    uint32 // after what was sent in order
	high    uint32 // after the highest, with a gap before it
	acked   uint32 // valid with tcpAcks: the highest acknowledgment it sent
	fin     uint32 // valid with tcpFIN, tcpFINAhead: the number after its FIN
}

type tcpFlags uint32

// Those up to tcpFINAcked are a bit for each end: shifted by the end.
const (
	tcpSeen     tcpFlags = 1 << 0  // it has sent a segment
	tcpSYN      tcpFlags = 1 << 2  // it has sent its SYN
	tcpAcks     tcpFlags = 1 << 4  // it has acknowledged something
	tcpFINAhead tcpFlags = 1 << 6  // its FIN was seen after a gap
	tcpFIN      tcpFlags = 1 << 8  // it has sent its FIN
	tcpFINAcked tcpFlags = 1 << 10 // its FIN was acknowledged
	tcpData     tcpFlags = 1 << 12 // either end has sent data
	tcpAnswered tcpFlags = 1 << 13 // the destination has answered
	// A SYN wants to open the tuple anew, sent by the destination or the source.
	tcpCandidate              tcpFlags = 1 << 14
	tcpCandidateByDestination tcpFlags = 1 << 15
	// The source has gone on after it saw the destination's answer.
	tcpSettled tcpFlags = 1 << 16
	// It has reset the connection: shifted by the end.
	tcpReset tcpFlags = 1 << 17
	// The source has sent a SYN with another number; so has the destination, and it is
	// not known which is taken.
	tcpRivalSYN    tcpFlags = 1 << 19
	tcpRivalAnswer tcpFlags = 1 << 20
)

func (s *tcpState) has(f tcpFlags) bool          { return s.flags&f != 0 }
func (s *tcpState) of(f tcpFlags, end int) bool  { return s.flags&(f<<end) != 0 }
func (s *tcpState) set(f tcpFlags, end int)      { s.flags |= f << end }
func (s *tcpState) clear(f tcpFlags, end int)    { s.flags &^= f << end }
func after(a, b uint32) bool                     { return int32(a-b) > 0 }
func within(n, low, high uint32) bool            { return n-low <= high-low }
func flagged(p *packet.Packet, flags uint8) bool { return p.TCPFlags&flags != 0 }
func (s *tcpState) bothFINsAcked() bool {
	return s.of(tcpFINAcked, source) && s.of(tcpFINAcked, destination)
}

// farthest is how far beyond a gap a segment may be: the largest window there is
// (RFC 7323 2.3).
const farthest = 1 << 30

func segmentEnd(p *packet.Packet) uint32 {
	n := p.Seq + uint32(p.PayloadLength)
	if flagged(p, packet.SYN) {
		n++
	}
	if flagged(p, packet.FIN) {
		n++
	}
	return n
}

// settle notes that end has sent. Whether the source has acknowledged the
// destination's SYN tells it from one that is made up.
func (s *tcpState) settle(end int) {
	if end == source && s.has(tcpAnswered) && s.acksAnswer() {
		s.flags |= tcpSettled
	}
}

// track takes p, sent by end and no later fragment, into account. It returns the
// end reason where p closes the connection.
func (s *tcpState) track(p *packet.Packet, end int) End {
	if p.HasOddFlags { // no stack acts on it
		return EndNone
	}
	if flagged(p, packet.RST) {
		if !s.resets(p, end) {
			return EndNone
		}
		s.set(tcpReset, end)
		return EndRST
	}
	if !s.begin(p, end) {
		return EndNone
	}
	if p.PayloadLength > 0 {
		s.flags |= tcpData
	}
	if !s.advance(p, end) || !flagged(p, packet.ACK) || !s.acknowledge(p.Ack, end) {
		return EndNone
	}
	if end == destination {
		s.flags |= tcpAnswered
	}
	if s.bothFINsAcked() {
		return EndFIN
	}
	return EndNone
}

// begin says whether p is of this connection, and takes what is an end's first.
func (s *tcpState) begin(p *packet.Packet, end int) bool {
	this, other := &s.end[end], &s.end[end^1]
	syn := flagged(p, packet.SYN)
	// While the source's SYN is out, the other end can only answer it, or cross it
	// with a SYN of its own. What else comes is of an older connection (a challenge
	// ACK, RFC 9293 3.5.1).
	opening := s.of(tcpSYN, end^1) && !s.has(tcpAnswered) && !(end == source && s.of(tcpSeen, source))
	if opening && flagged(p, packet.ACK) && (p.Ack == other.initial || !within(p.Ack, other.initial, other.next)) {
		return false
	}
	if opening && p.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK && end == destination && !s.answersSYN(p.Ack) {
		return false
	}
	if s.answersAnew(p, end) {
		s.flags |= tcpRivalAnswer
		s.clear(tcpFINAhead|tcpFIN|tcpFINAcked, destination)
		s.clear(tcpAcks, source)
	} else if s.of(tcpSeen, end) && !(opening && syn && flagged(p, packet.ACK)) {
		return !syn || s.of(tcpSYN, end) && p.Seq == this.initial
	}
	this.next = segmentEnd(p)
	this.high = this.next
	s.set(tcpSeen, end)
	if syn {
		this.initial = p.Seq
		s.set(tcpSYN, end)
	}
	return true
}

// isAgreed says whether each end has the number of the other's SYN: it was answered by
// one. An ACK alone may be of an older connection, which an end has still.
func (s *tcpState) isAgreed() bool {
	return s.of(tcpSYN, source) && s.of(tcpSYN, destination) && s.has(tcpAnswered) && !s.has(tcpRivalAnswer)
}

// answersSYN says whether a SYN of the destination's that acknowledges ack answers the
// source's. It may acknowledge data with it (RFC 7413); but where the source has sent
// another SYN, or more than that before it had an answer, only the SYN's own number tells
// which is answered: the server may begin in the midst of what has come here, and of that
// has taken nothing.
func (s *tcpState) answersSYN(ack uint32) bool {
	first := &s.end[source]
	if s.has(tcpRivalSYN) || s.of(tcpAcks, source) {
		return ack == first.initial+1
	}
	return ack != first.initial && within(ack, first.initial, first.next)
}

// answersAnew says whether p answers the source's SYN with a number other than that
// of an answer which the source has not acknowledged: the server forgot the first,
// or several share an address. The source goes on with the one that reaches it.
func (s *tcpState) answersAnew(p *packet.Packet, end int) bool {
	return end == destination && p.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK &&
		s.of(tcpSYN, source) && s.of(tcpSYN, destination) && p.Seq != s.end[destination].initial && !s.acksAnswer() &&
		s.answersSYN(p.Ack)
}

// acksAnswer says whether the source has acknowledged the destination's SYN, or
// more; where no SYN was seen, that it acknowledges.
func (s *tcpState) acksAnswer() bool {
	to := &s.end[destination]
	return s.of(tcpAcks, source) && (!s.of(tcpSYN, destination) || within(s.end[source].acked, to.initial+1, to.high))
}

// advance notes what p brings, and says whether the receiver is certain to take
// it: it begins no later than what is expected, and ends no earlier than what was
// acknowledged.
func (s *tcpState) advance(p *packet.Packet, end int) bool {
	this := &s.end[end]
	to := segmentEnd(p)
	if after(p.Seq, this.next) {
		// After a gap. Whether the receiver has what is missing is told by its
		// acknowledgment, as is whether a FIN counts.
		if to-this.next <= farthest {
			if after(to, this.high) {
				this.high = to
			}
			if flagged(p, packet.FIN) && !s.of(tcpFIN, end) {
				this.fin = to
				s.set(tcpFINAhead, end)
			}
		}
		return false
	}
	if s.of(tcpAcks, end^1) && after(s.end[end^1].acked, to) {
		return false // all of it was acknowledged before
	}
	if after(to, this.next) {
		this.next = to
		if after(to, this.high) {
			this.high = to
		}
	}
	if s.of(tcpFINAhead, end) && !after(this.fin-1, this.next) {
		s.clear(tcpFINAhead, end)
		if this.next == this.fin-1 { // the gap before it is closed
			this.next = this.fin
			s.set(tcpFIN, end)
		}
	}
	// At the end of what was sent, and nowhere else.
	if flagged(p, packet.FIN) && to == this.next {
		this.fin = to
		s.set(tcpFIN, end)
	}
	return true
}

// acknowledge takes an acknowledgment sent by end; false for one of what the other
// never sent.
func (s *tcpState) acknowledge(ack uint32, end int) bool {
	this, other := &s.end[end], &s.end[end^1]
	o := end ^ 1
	if s.of(tcpSeen, o) {
		if after(ack, other.high) {
			return false
		}
		if after(ack, other.next) {
			other.next = ack // what was not seen, or not in order, has come
			if s.of(tcpFINAhead, o) && !after(other.fin, ack) {
				s.clear(tcpFINAhead, o)
				if ack == other.fin {
					s.set(tcpFIN, o)
				}
			}
		}
	}
	if end == source && ack == other.initial+1 {
		s.flags &^= tcpRivalAnswer
	}
	// Never back: a stale one would let an RST at its number through.
	if !s.of(tcpAcks, end) || after(ack, this.acked) {
		this.acked = ack
		s.set(tcpAcks, end)
	}
	if s.of(tcpFIN, o) && !after(other.fin, ack) {
		s.set(tcpFINAcked, o)
	}
	return true
}

// resets says whether an RST sent by end counts: only at exactly what its receiver
// expects next (RFC 9293 3.10.7.4), which is what it acknowledged, or what has been
// sent in order since. The answer to a SYN acknowledges it.
func (s *tcpState) resets(p *packet.Packet, end int) bool {
	this, other := &s.end[end], &s.end[end^1]
	if s.of(tcpSeen, end) && p.Seq == this.next {
		return true
	}
	if s.of(tcpAcks, end^1) && p.Seq == other.acked {
		return true
	}
	if !flagged(p, packet.ACK) || s.of(tcpSeen, end) || !s.of(tcpSeen, end^1) {
		return false
	}
	if s.of(tcpSYN, end^1) {
		return p.Ack != other.initial && within(p.Ack, other.initial, other.next)
	}
	return p.Ack == other.next
}

// noteBlocked remembers the SYN of a connection whose packets are dropped, so that
// its retransmissions are known.
func (s *tcpState) noteBlocked(p *packet.Packet, end int) {
	if s.of(tcpSeen, end) || p.HasOddFlags || p.TCPFlags&(packet.SYN|packet.ACK) != packet.SYN {
		return
	}
	s.begin(p, end)
}
