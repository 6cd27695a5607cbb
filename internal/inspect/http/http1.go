package http

import "bytes"

// state is what an end of HTTP/1 sends next.
type state uint8

const (
	head state = iota
	length
	chunkSize
	chunkData
	chunkEnd
	trailers
	untilClose
	waiting // the client asked for another protocol, and its bytes wait for the answer
	inner
	broken
)

// side is what is known of one end's stream.
type side struct {
	state  state
	closed bool
	// two: it is HTTP/2, and what it sends is in Parser.two.
	two bool
	// at is the offset of the first byte that was not consumed, offered how many
	// there were after the last Read.
	at      uint64
	offered int

	// The header section under way, from at on: where the current line begins, how
	// far there is no further line end, and whether the first line is known good.
	line, scanned int
	firstGood     bool

	// The message whose body is under way. left is of the body or the chunk, and
	// section what trailers have come to.
	current Message
	left    uint64
	body    uint64
	section int
	// offers: the current request asks for another protocol.
	offers bool
	// resumes: it waited, and the bytes behind are yet to be read.
	resumes bool
}

func (p *Parser) step1(end End, s *side, data []byte) (n int, again bool) {
	switch s.state {
	case head:
		return p.readHead(end, s, data)
	case length, chunkData:
		n = int(min(s.left, uint64(len(data))))
		p.consumeBody(end, s, uint64(n), s.at+uint64(n))
		return n, true
	case chunkSize:
		return p.readChunkSize(end, s, data)
	case chunkEnd:
		return p.readChunkEnd(end, s, data)
	case trailers:
		return p.readTrailer(end, s, data)
	case untilClose:
		s.body += uint64(len(data))
		return len(data), false
	case waiting, inner:
		return 0, false
	}
	return len(data), false
}

// skip1 is a gap within a body.
func (p *Parser) skip1(end End, s *side, n uint64) {
	s.at += n
	switch s.state {
	case length, chunkData:
		p.consumeBody(end, s, n, s.at)
	case untilClose:
		s.body += n
	}
}

// consumeBody takes n bytes of a body or chunk; after is the offset behind them.
func (p *Parser) consumeBody(end End, s *side, n, after uint64) {
	s.left -= n
	s.body += n
	switch {
	case s.left > 0:
	case s.state == chunkData:
		s.state = chunkEnd
	default:
		p.ended(end, s, after)
	}
}

// readHead looks for the end of a header section, each byte once however the
// section is cut.
func (p *Parser) readHead(end End, s *side, data []byte) (n int, again bool) {
	if s.scanned == 0 {
		// RFC 9112 section 2.2: empty lines before a message are ignored.
		switch {
		case data[0] == '\n':
			return 1, true
		case data[0] == '\r' && len(data) == 1:
			return 0, false
		case data[0] == '\r' && data[1] == '\n':
			return 2, true
		}
	}
	for {
		i := bytes.IndexByte(data[s.scanned:], '\n')
		if i < 0 {
			s.scanned = len(data)
			break
		}
		line := bytes.TrimSuffix(data[s.line:s.scanned+i], []byte{'\r'})
		s.scanned += i + 1
		if s.scanned > p.limits.HeaderBytes {
			break
		}
		if len(line) == 0 {
			n = s.scanned
			s.line, s.scanned, s.firstGood = 0, 0, false
			return n, p.section1(end, s, string(data[:n]))
		}
		s.line = s.scanned
	}
	// A request without a version is answered after its first line, so nothing more
	// may come: what is wrong with that line is said now.
	if s.line > 0 && !s.firstGood {
		first, _, _ := bytes.Cut(data, []byte{'\n'})
		if why := firstLine(end, string(bytes.TrimSuffix(first, []byte{'\r'}))); why != None {
			p.giveUp(end, why, s.at)
			return len(data), false
		}
		s.firstGood = true
	}
	if s.scanned > p.limits.HeaderBytes {
		p.giveUp(end, TooManyHeaderBytes, s.at)
		return len(data), false
	}
	return 0, false
}

func firstLine(end End, line string) (why Reason) {
	if end == Client {
		_, _, _, why = requestLine(line)
	} else {
		_, _, why = statusLine(line)
	}
	return why
}

// section1 reads a complete header section.
func (p *Parser) section1(end End, s *side, text string) (again bool) {
	m := Message{End: end, Start: s.at, HeadEnd: s.at + uint64(len(text))}
	var why Reason
	if end == Client {
		why = p.request1(s, &m, text)
	} else {
		why = p.response1(s, &m, text)
	}
	if why != None {
		p.giveUp(end, why, m.Start)
	}
	return why == None
}

// beginBody says what comes after the header section of m, and tells its end if
// that is nothing.
func (p *Parser) beginBody(s *side, m *Message, f framing) {
	s.body, s.section = 0, 0
	s.current = Message{Kind: Ended, End: m.End, Exchange: m.Exchange, Method: m.Method, Start: m.Start}
	switch {
	case f.untilClose:
		s.state = untilClose
	case f.chunked:
		s.state = chunkSize
	default:
		s.state, s.left = length, f.length
	}
	if s.state == length && s.left == 0 {
		p.ended(m.End, s, m.HeadEnd)
	}
}

// ended tells the end of the current message.
func (p *Parser) ended(end End, s *side, at uint64) {
	m := s.current
	m.HeadEnd, m.Body, m.Next, m.NextKnown = at, s.body, at, true
	s.state = head
	p.tell(m)
	switch {
	case end == Server || !s.offers:
	case p.isSwitch:
		p.switched(at)
	case p.deaf:
		p.giveUp(Client, AnswersMissed, at)
	case p.offering(m.Exchange):
		s.state = waiting
	}
}

// offering says whether the client's last request waits for the server to say
// which protocol follows.
func (p *Parser) offering(number uint64) bool {
	if p.pending.length() == 0 {
		return false
	}
	last := &p.pending.items[len(p.pending.items)-1]
	return last.number == number && last.offers
}

func (p *Parser) close1(end End, s *side) {
	switch s.state {
	case untilClose:
		p.ended(end, s, s.at)
	case head:
		if s.offered > 0 {
			p.giveUp(end, Truncated, s.at)
		}
	case waiting, inner:
	default:
		m := s.current
		m.HeadEnd, m.Body, m.Reason = s.at, s.body, Truncated
		p.tell(m)
		s.state = broken
	}
}
