package dns

import "encoding/binary"

// lengthBytes stand before each message of a connection (RFC 1035 4.2.2).
const lengthBytes = 2

// Parser reads the messages of one TCP connection. Its zero value is ready.
type Parser struct {
	// Protocol is that of the messages: DNS, or LLMNR.
	Protocol Protocol

	ends     [2]half
	messages []Message // len is what was found since Reset, the storage behind it is used again
}

// half is what is known of the bytes that one end sends.
type half struct {
	offset  uint64 // of the first byte that was not consumed
	skip    uint64 // bytes after offset that belong to a message already told
	pending int    // bytes that were handed over last and not consumed
	length  int    // of the message that they begin, with its length; 0: not known
	full    bool   // the caller holds no more than pending
	lost    bool   // the place in the stream is not known
	dead    bool   // nothing can be told any more
}

// Read takes bytes of an end, in order, from where the last call's consumed left
// off, and appends the messages that are whole. They lie in data.
func (p *Parser) Read(end End, data []byte) (consumed int) {
	h := &p.ends[end&1]
	at := h.pass(data)
	for !h.dead && len(data)-at >= lengthBytes {
		rest := data[at:]
		length := int(binary.BigEndian.Uint16(rest))
		whole := lengthBytes + length
		switch {
		case h.lost:
			if DetectStream(rest, 0) != Yes || len(rest) < whole {
				// Not a place where a message begins.
				h.offset += uint64(len(rest))
				at = len(data)
				continue
			}
			h.lost = false
		case length < headerBytes:
			// Servers hang up.
			m := p.add(end)
			m.Problem, m.End = BadLength, 0
			h.dead = true
			continue
		}
		if len(rest) < whole && !h.full {
			h.pending, h.length = len(rest), whole
			return at
		}
		m := p.add(end)
		place := m.Place
		m.Parse(rest[lengthBytes:min(whole, len(rest))], length, p.Protocol)
		m.Place = place
		m.End = h.offset + uint64(whole)
		n := min(whole, len(rest))
		h.offset += uint64(n)
		h.skip = uint64(whole - n)
		h.full = false
		at += n
	}
	if h.dead {
		h.offset += uint64(len(data) - at)
		at = len(data)
	}
	h.pending, h.length = len(data)-at, 0
	return at
}

// pass goes over what is to be skipped.
func (h *half) pass(data []byte) int {
	n := min(h.skip, uint64(len(data)))
	h.skip -= n
	h.offset += n
	return int(n)
}

// Limit says that the caller holds no more bytes of an end than it last handed
// over: the next Read tells what they hold of their message, the rest is Cut.
func (p *Parser) Limit(end End) {
	h := &p.ends[end&1]
	h.full = h.pending >= lengthBytes
}

// Gap says that the n bytes that follow those handed over will never be seen; 0:
// nobody knows how many, and places are wrong from there on. What was handed over and not consumed is given up.
func (p *Parser) Gap(end End, n uint64) {
	h := &p.ends[end&1]
	if h.dead {
		return
	}
	begun, pending, length := h.pending > 0, uint64(h.pending), uint64(h.length)
	if begun {
		m := p.add(end)
		m.Problem = Unseen
		if length > 0 {
			m.End = h.offset + length
		}
	}
	gone := pending + n
	h.pending, h.length, h.full = 0, 0, false
	switch {
	case n == 0: // somewhere later
		h.lost, h.skip = true, 0
	case h.skip >= n && !begun:
		h.skip -= n
	case begun && length >= gone:
		h.skip = length - gone
	default:
		h.lost, h.skip = true, 0
	}
	h.offset += gone
}

// Close says that an end has sent its last byte.
func (p *Parser) Close(end End) {
	h := &p.ends[end&1]
	if h.pending > 0 && !h.dead {
		p.add(end).Problem = Ended
	}
	h.offset += uint64(h.pending)
	h.pending, h.dead = 0, true
}

// add makes room for a message that begins at the end's offset.
func (p *Parser) add(end End) *Message {
	if n := len(p.messages); n < cap(p.messages) {
		p.messages = p.messages[:n+1]
	} else {
		p.messages = append(p.messages, Message{})
	}
	m := &p.messages[len(p.messages)-1]
	*m = Message{
		Place:     Place{From: end, Begin: p.ends[end&1].offset},
		Questions: m.Questions[:0], Answers: m.Answers[:0],
	}
	return m
}

// Messages are those found since Reset. They are valid until the next call of
// Reset, and as long as the data given to Read are.
func (p *Parser) Messages() []Message { return p.messages }

// Reset forgets the messages, not the place in the streams.
func (p *Parser) Reset() { p.messages = p.messages[:0] }

// Skip is the number of bytes of an end, from the first that was not consumed,
// that can yield nothing. Instead of handing them over the caller may call Gap
// with their number.
func (p *Parser) Skip(end End) uint64 { return p.ends[end&1].skip }

// Consumed is the offset of the first byte of an end that was not consumed: all
// messages before it have been told.
func (p *Parser) Consumed(end End) uint64 { return p.ends[end&1].offset }

// Wants says whether more bytes of an end can yield a message.
func (p *Parser) Wants(end End) bool { return !p.ends[end&1].dead }
