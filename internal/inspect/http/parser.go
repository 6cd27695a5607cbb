package http

import "math"

// Parser reads one connection. The zero value is ready, with the default limits
// and no headers.
type Parser struct {
	limits Limits
	names  []string
	fold   bool
	// decided: whether it is HTTP/2 is known.
	decided bool
	sides   [2]side
	two     *connection2
	// requests is the number of the last exchange.
	requests uint64
	pending  queue
	// deaf: responses are no more read or paired, and deafness says why.
	deaf     bool
	deafness Reason
	// switching is the exchange that the server said 101 or 2xx to.
	switching Message
	isSwitch  bool

	messages []Message
	headers  []Header
}

// Init makes the parser ready for a new connection, and keeps its storage.
func (p *Parser) Init(c *Config) {
	*p = Parser{
		limits: c.Limits.withDefaults(), names: c.Headers, fold: c.AcceptFolding,
		pending: queue{items: p.pending.items[:0]}, messages: p.messages[:0], headers: p.headers[:0],
	}
}

// SetHeaders names the headers to be told from the next header section on; the
// slice must not change.
func (p *Parser) SetHeaders(names []string) { p.names = names }

// Read takes what an end has sent, in order, from where the last call for that end
// left off: bytes that were not consumed come again with more behind them, or with
// less where whoever keeps them has no room. They come again, too, whenever bytes of the other end were consumed, since an end that
// asked for another protocol waits for the answer. Bytes of another protocol, from
// where Switched says, are never consumed.
func (p *Parser) Read(end End, data []byte) (consumed int) {
	if p.limits.HeaderBytes == 0 {
		p.limits = p.limits.withDefaults()
	}
	s := &p.sides[end]
	s.resumes = false
	if len(data) < s.offered {
		// For want of memory some were given up, and come again later: what was seen of
		// them does not count.
		s.line, s.scanned, s.firstGood = 0, 0, false
	}
	for consumed < len(data) {
		n, again := p.step(end, s, data[consumed:])
		consumed += n
		s.at += uint64(n)
		if !again {
			break
		}
	}
	s.offered = len(data) - consumed
	return consumed
}

// step makes the least progress; n is what it consumed, and again that more can
// come of what is behind it.
func (p *Parser) step(end End, s *side, data []byte) (n int, again bool) {
	switch {
	case s.state == broken:
		return len(data), false
	case end == Server && (p.sides[Client].resumes || p.awaits()):
		return 0, false // what comes may answer requests that are yet to be read
	case !p.decided && !p.decide(end, data):
		return 0, false
	case s.two:
		return p.two.step(p, end, s, data)
	}
	return p.step1(end, s, data)
}

// awaits says whether a request is under way to which what the server says is the
// answer: one that answers before it has all of it.
func (p *Parser) awaits() bool {
	c := &p.sides[Client]
	return c.state == head && !c.two && c.offered > 0 && !c.closed && p.pending.length() == 0 && !p.deaf
}

// decide looks whether the connection begins with HTTP/2's preface. A server's
// bytes settle it only where they are a response of HTTP/1: servers of HTTP/2 may
// speak first.
func (p *Parser) decide(end End, data []byte) bool {
	prefix := preface
	if end == Server {
		prefix = "HTTP/1."
	}
	n := min(len(data), len(prefix))
	same := string(data[:n]) == prefix[:n]
	switch {
	case same && n < len(prefix):
		return false
	case end == Server && !same && !p.sides[Client].closed && p.sides[Client].state != broken:
		return false
	case end == Client && same:
		p.two = newConnection2(&p.limits)
		p.sides[Client].two, p.sides[Server].two = true, true
	}
	p.decided = true
	return true
}

// Gap says that n bytes of an end will never be seen; 0 means that their number
// is not known. Within a body of known length the parser goes on behind them.
func (p *Parser) Gap(end End, n uint64) {
	s := &p.sides[end]
	s.offered, s.resumes = 0, false
	if s.state == broken || s.closed {
		s.at += n
		return
	}
	if skip := p.Skip(end); n > 0 && n <= skip {
		if s.two {
			p.two.skip(p, end, s, n)
		} else {
			p.skip1(end, s, n)
		}
		return
	}
	if s.state == untilClose || s.state == inner {
		return
	}
	p.giveUp(end, Missed, p.Undecided(end))
	s.at += n
}

// Limit says that the caller cannot keep the bytes that the parser has not
// consumed: what they would have told is unobtainable.
func (p *Parser) Limit(end End) {
	if s := &p.sides[end]; s.state != broken && !s.closed {
		p.giveUp(end, BufferLimit, p.Undecided(end))
	}
}

// Close says that an end has sent its last byte, or was reset. Bytes that were not
// consumed before may still come.
func (p *Parser) Close(end End) {
	s := &p.sides[end]
	if s.closed {
		return
	}
	switch {
	case s.state == broken:
	case s.two:
		p.two.close(p, end, s)
	default:
		p.close1(end, s)
	}
	s.closed = true
	if end == Server && !p.deaf {
		p.stopPairing(Closed)
	}
}

// Skip is how many bytes the end sends next that can tell nothing. The caller may
// leave them out, and say so by Gap.
func (p *Parser) Skip(end End) uint64 {
	s := &p.sides[end]
	switch s.state {
	case length, chunkData:
		return s.left
	case untilClose, broken:
		return math.MaxUint64
	}
	if s.two {
		return p.two.sides[end].skippable()
	}
	return 0
}

// Wants says whether more bytes of that end can still tell something.
func (p *Parser) Wants(end End) bool {
	s := &p.sides[end]
	return !s.closed && s.state != broken && s.state != inner && s.state != untilClose
}

// Undecided is the offset of the first byte of an end that belongs to a header
// section of which no message has come yet. What lies before it has been told.
func (p *Parser) Undecided(end End) uint64 {
	s := &p.sides[end]
	if s.two && p.two.sides[end].inBlock {
		return p.two.sides[end].blockStart
	}
	return s.at
}

// Held is about how many bytes the parser holds besides its own size: requests that
// wait for their responses, and what HTTP/2 keeps of streams and headers.
func (p *Parser) Held() int {
	const ofExchange, ofStream, ofConnection, entry = 128, 256, 2048, 32
	n := cap(p.pending.items) * ofExchange
	if p.two == nil {
		return n
	}
	n += ofConnection + len(p.two.streams)*ofStream
	for i := range p.two.sides {
		t := &p.two.sides[i]
		n += int(min(uint64(t.table), t.decoded)) + t.block.size + cap(t.block.headers)*entry
	}
	return n
}

// Messages are those found since Reset, valid until the next call of any method.
func (p *Parser) Messages() []Message { return p.messages }

// Reset empties Messages.
func (p *Parser) Reset() { p.messages, p.headers = p.messages[:0], p.headers[:0] }

func (p *Parser) tell(m Message) { p.messages = append(p.messages, m) }

// giveUp tells that an end's bytes cannot be understood from an offset on. With
// the server's go the responses that are waited for.
func (p *Parser) giveUp(end End, why Reason, from uint64) {
	s := &p.sides[end]
	if s.state == broken {
		return
	}
	s.state, s.resumes = broken, false
	m := Message{Kind: Broken, End: end, Reason: why, Start: from}
	if end == Client {
		m.Facts = lost(why.Cause())
	}
	p.tell(m)
	if end == Server && !p.deaf {
		p.stopPairing(why)
	}
}

// stopPairing tells which requests get no response. A client that waits to hear
// which protocol it may speak cannot be understood any more.
func (p *Parser) stopPairing(why Reason) {
	p.deaf, p.deafness = true, why
	for p.pending.length() > 0 {
		x := p.pending.pop()
		p.tell(Message{Kind: Unanswered, End: Server, Reason: why, Exchange: x.number, Method: x.method})
	}
	if p.two != nil {
		p.two.unanswered(p, why, 0)
	}
	switch c := &p.sides[Client]; {
	case c.state != waiting:
	case why == Closed:
		c.state = head // it did not switch, and what comes still are requests
	default:
		p.giveUp(Client, AnswersMissed, c.at)
	}
}
