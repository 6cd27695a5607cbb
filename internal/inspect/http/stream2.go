package http

import (
	"maps"
	"slices"
)

// stream2 is a stream of HTTP/2 whose response is not over.
type stream2 struct {
	exchange uint64
	method   string
	protocol string
	// head is where the client's header section ends.
	head uint64
	// start is where each end's message begins; body what it has carried, and
	// declared its Content-Length, -1 without one.
	start, body [2]uint64
	declared    [2]int64
	ended       [2]bool
	// final: the response's status is known.
	final bool
}

// section2 is a complete header section.
func (c *connection2) section2(p *Parser, end End, f *frame, after uint64) Reason {
	t := &c.sides[end]
	b := &t.block
	t.decoded += uint64(b.size)
	id := f.stream
	opener := end
	if b.promised != 0 {
		id = b.promised
	} else if end == Server {
		c.answer(p, id, t, f, after)
		return None
	}
	x := c.streams[id]
	switch {
	case opener == Client && id%2 == 0:
		return FrameStream
	case id > c.last[opener]:
		c.last[opener] = id
		c.open(p, end, id, t, f, after)
	case b.pseudo != 0 || x != nil && x.ended[Client]:
		m := Message{End: end, Stream: id, Start: t.blockStart, HeadEnd: after}
		if x != nil {
			m.Exchange = x.exchange
		}
		m.refuse(StreamReused)
		p.tell(m)
	case x == nil:
		// Trailers of a stream that is over, or beyond the limit.
	case !f.has(flagEndStream):
		c.endWith(p, Client, id, x, after, FrameType)
	case b.why != None:
		c.endWith(p, Client, id, x, after, b.why)
	default:
		c.endStream(p, Client, id, after)
	}
	return None
}

// open is a request: of the client, or promised by the server.
func (c *connection2) open(p *Parser, end End, id uint32, t *side2, f *frame, after uint64) {
	p.requests++
	b := &t.block
	m := Message{
		Kind: Request, End: end, Stream: id, Exchange: p.requests, Start: t.blockStart, HeadEnd: after,
		Headers: b.told(), Version: "2",
	}
	if why := b.request2(&m); why != None {
		m.refuse(why)
	}
	p.tell(m)
	why := None
	switch {
	case p.deaf:
		why = p.deafness
	case len(c.streams) >= p.limits.Streams:
		why = TooManyStreams
	}
	if why != None {
		p.tell(Message{Kind: Unanswered, End: Server, Reason: why, Exchange: m.Exchange, Stream: id, Method: m.Method})
		return
	}
	x := &stream2{exchange: m.Exchange, method: methodOf(m.Method), protocol: methodOf(b.protocol), head: after, declared: [2]int64{b.declared(), -1}}
	x.start[end] = t.blockStart
	c.streams[id] = x
	if end == Server {
		x.ended[Client] = true
	} else if f.has(flagEndStream) {
		c.endStream(p, Client, id, after)
	}
}

// answer is a header section of the server: a response, or trailers.
func (c *connection2) answer(p *Parser, id uint32, t *side2, f *frame, after uint64) {
	x := c.streams[id]
	if x == nil || x.ended[Server] {
		return // of a stream that is over, or beyond the limit
	}
	b := &t.block
	if x.final {
		c.endStream(p, Server, id, after)
		return
	}
	m := Message{
		Kind: Response, End: Server, Stream: id, Exchange: x.exchange, Method: x.method, Version: "2",
		Start: t.blockStart, HeadEnd: after, Headers: b.told(),
	}
	m.Status, m.Reason = b.status2()
	if m.Reason == None {
		m.Reason = b.why
	}
	p.tell(m)
	x.final = m.Status == 0 || m.Status >= 200
	if !x.final {
		return
	}
	x.start[Server], x.declared[Server] = m.Start, b.declared()
	if x.method == "HEAD" || m.Status == 204 || m.Status == 304 {
		x.declared[Server] = -1
	}
	if x.method == "CONNECT" && m.Status/100 == 2 {
		s := Message{
			Kind: Switched, End: Server, Stream: id, Exchange: x.exchange, Method: x.method,
			InnerStart: [2]uint64{x.head, after}, Upgrade: x.protocol,
		}
		if x.protocol != "" {
			s.Inner = innerOf(x.protocol)
		}
		p.tell(s)
	}
	if f.has(flagEndStream) {
		c.endStream(p, Server, id, after)
	}
}

// declared is Content-Length, -1 where there is none that can be used.
func (b *block) declared() int64 {
	if b.lengths == 0 || b.why != None {
		return -1
	}
	return int64(decimal(b.length))
}

// data is a DATA frame with n bytes of a body.
func (c *connection2) data(end End, f *frame, n uint32) Reason {
	if opener := f.stream % 2; f.stream > c.last[1-opener] {
		return FrameStream // nobody has opened it
	}
	if x := c.streams[f.stream]; x != nil {
		x.body[end] += uint64(n)
	}
	return None
}

func (c *connection2) endStream(p *Parser, end End, id uint32, after uint64) {
	x := c.streams[id]
	if x == nil || x.ended[end] {
		return
	}
	why := None
	if x.declared[end] >= 0 && uint64(x.declared[end]) != x.body[end] {
		why = BodyLength
	}
	c.endWith(p, end, id, x, after, why)
}

func (c *connection2) endWith(p *Parser, end End, id uint32, x *stream2, after uint64, why Reason) {
	if x.ended[end] {
		return
	}
	x.ended[end] = true
	if end == Server && !x.final {
		p.tell(Message{Kind: Unanswered, End: Server, Reason: why, Exchange: x.exchange, Stream: id, Method: x.method})
	} else {
		p.tell(Message{
			Kind: Ended, End: end, Reason: why, Exchange: x.exchange, Stream: id, Method: x.method,
			Start: x.start[end], HeadEnd: after, Body: x.body[end],
		})
	}
	if x.ended[Client] && x.ended[Server] {
		delete(c.streams, id)
	}
}

// reset ends a stream both ways.
func (c *connection2) reset(p *Parser, _ End, id uint32, at uint64) {
	if x := c.streams[id]; x != nil {
		c.endWith(p, Client, id, x, at, StreamReset)
		c.endWith(p, Server, id, x, at, StreamReset)
		delete(c.streams, id)
	}
}

// maxGoAways bounds the times that all streams are gone through. A server needs
// two, the first of which names no stream.
const maxGoAways = 8

// goAway is the server's word that it does not take requests beyond a stream.
func (c *connection2) goAway(p *Parser, end End, last uint32) {
	if end == Client || last >= c.last[Client] || c.leaving >= maxGoAways {
		return
	}
	c.leaving++
	c.unanswered(p, GoAway, last)
}

// unanswered gives up the responses on the client's streams beyond one.
func (c *connection2) unanswered(p *Parser, why Reason, beyond uint32) {
	for _, id := range slices.Sorted(maps.Keys(c.streams)) {
		if id > beyond && (id%2 == 1 || beyond == 0) {
			c.endWith(p, Server, id, c.streams[id], p.Undecided(Server), why)
		}
	}
}

// cut ends what an end had not ended when its connection did.
func (c *connection2) cut(p *Parser, end End, at uint64) {
	if end == Server {
		return // Close tells which requests are unanswered
	}
	for _, id := range slices.Sorted(maps.Keys(c.streams)) {
		c.endWith(p, end, id, c.streams[id], at, Truncated)
	}
}
