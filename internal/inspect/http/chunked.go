package http

import "bytes"

// maxChunkLine bounds the line before a chunk: its size and extensions, which
// nobody uses.
const maxChunkLine = 1024

// maxHex keeps a chunk within a signed 64-bit number; leading zeros count.
const maxHex = 15

// chunkLine reads the line before a chunk, without its CR LF. White space behind the
// size is what some servers pad it with, and some do not take from clients.
func chunkLine(line []byte, strict bool) (size uint64, why Reason) {
	i := 0
	for ; i < len(line); i++ {
		b := line[i]
		switch {
		case b >= '0' && b <= '9':
			b -= '0'
		case b|0x20 >= 'a' && b|0x20 <= 'f':
			b = b | 0x20 - 'a' + 10
		default:
			b = 0xff
		}
		if b == 0xff {
			break
		}
		size = size<<4 | uint64(b)
	}
	if i == 0 || i > maxHex {
		return 0, ChunkSize
	}
	extension := line[i:]
	if len(extension) == 0 {
		return size, None
	}
	if !strict {
		extension = bytes.TrimLeft(extension, " \t")
	}
	if len(extension) > 0 && extension[0] != ';' {
		return 0, ChunkSize
	}
	for _, b := range extension {
		if b < ' ' && b != '\t' || b == 0x7f {
			return 0, ChunkExtension
		}
	}
	return size, None
}

// cutLine is a line that must end with CR LF: one with LF alone ends elsewhere for
// those who look for CR LF. found is false where there is no LF yet.
func cutLine(data []byte) (line []byte, n int, found, crlf bool) {
	i := bytes.IndexByte(data, '\n')
	if i < 0 {
		return nil, 0, false, false
	}
	if i == 0 || data[i-1] != '\r' {
		return data[:i], i + 1, true, false
	}
	return data[:i-1], i + 1, true, true
}

func (p *Parser) readChunkSize(end End, s *side, data []byte) (n int, again bool) {
	line, n, found, crlf := cutLine(data[:min(len(data), maxChunkLine)])
	if !found {
		if len(data) < maxChunkLine {
			return 0, false
		}
		return p.cutBody(end, s, ChunkLine, data)
	}
	size, why := chunkLine(line, end == Client)
	if !crlf && why == None {
		why = ChunkSize
	}
	if why != None {
		return p.cutBody(end, s, why, data)
	}
	s.state, s.left = chunkData, size
	if size == 0 {
		s.state = trailers
	}
	return n, true
}

func (p *Parser) readChunkEnd(end End, s *side, data []byte) (n int, again bool) {
	switch {
	case data[0] != '\r' || len(data) > 1 && data[1] != '\n':
		return p.cutBody(end, s, ChunkEnd, data)
	case len(data) == 1:
		return 0, false
	}
	s.state = chunkSize
	return 2, true
}

// readTrailer takes trailers line by line; an empty one ends the message.
func (p *Parser) readTrailer(end End, s *side, data []byte) (n int, again bool) {
	i := bytes.IndexByte(data[min(s.scanned, len(data)):], '\n')
	if i < 0 {
		s.scanned = len(data)
		if s.section+len(data) > p.limits.HeaderBytes {
			return p.cutBody(end, s, TooManyHeaderBytes, data)
		}
		return 0, false
	}
	line, n, _, crlf := cutLine(data[:s.scanned+i+1])
	s.scanned = 0
	s.section += n
	why := None
	switch {
	case !crlf:
		why = MixedLineEnds
	case s.section > p.limits.HeaderBytes:
		why = TooManyHeaderBytes
	case len(line) == 0:
		p.ended(end, s, s.at+uint64(n))
		return n, true
	default:
		var name string
		if name, _, why = cutField(string(line), end == Client); why == None && (isFraming(name) || equalFold(name, "host")) {
			why = ForbiddenTrailer
		}
	}
	if why != None {
		return p.cutBody(end, s, why, data)
	}
	return n, true
}

// cutBody gives up within a body: its message ends, as far as can be said, here.
func (p *Parser) cutBody(end End, s *side, why Reason, data []byte) (n int, again bool) {
	m := s.current
	m.HeadEnd, m.Body, m.Reason = s.at, s.body, why
	p.tell(m)
	p.giveUp(end, why, s.at)
	return len(data), false
}
