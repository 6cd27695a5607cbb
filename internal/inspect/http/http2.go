package http

import (
	"encoding/binary"
	"errors"

	"golang.org/x/net/http2/hpack"
)

// connection2 is what HTTP/2 keeps of a connection.
type connection2 struct {
	sides   [2]side2
	streams map[uint32]*stream2
	// last is the highest stream that each end opened.
	last [2]uint32
	// leaving counts GOAWAYs that were heeded.
	leaving int
	// fromUpgrade: the connection was HTTP/1 before. What the client sent with its
	// preface was sent before it knew the server's settings.
	fromUpgrade bool
}

// phase is what comes next of an end.
type phase uint8

const (
	inPreface phase = iota
	inFrame         // its header and prefix
	inPayload
)

// side2 reads the frames of an end. All but a frame's header and prefix is consumed
// as it comes.
type side2 struct {
	phase phase
	// begun: the first frame, which must be SETTINGS, has been there.
	begun bool
	frame frame
	// left is how much of the payload is still to come, pad how much of that is
	// padding.
	left, pad uint32
	// largest is the greatest frame that the other end ever accepted.
	largest uint32

	decoder *hpack.Decoder
	// table is the greatest table of header compression that the other end ever
	// accepted, as far as the limit allows; beyond says that it was more.
	table  uint32
	beyond bool
	// decoded are the bytes of header sections so far, of which the table holds the last.
	decoded uint64

	// The header section under way, from the first frame's offset on.
	inBlock    bool
	block      block
	blockStart uint64
	frames     int
	bytes      uint64
}

// maxCompressed bounds the bytes of a section's frames, in limits of header bytes:
// beyond one the facts are lost, beyond this the end is given up.
const maxCompressed = 8

func newConnection2(limits *Limits) *connection2 {
	c := &connection2{streams: map[uint32]*stream2{}}
	for i := range c.sides {
		t := &c.sides[i]
		t.phase, t.largest, t.table = inFrame, minMaxFrame, 4096
		t.decoder = hpack.NewDecoder(t.table, t.block.field)
		t.block.decoder = t.decoder
		// A string beyond it would be lost, and with it the table's state.
		t.decoder.SetMaxStringLength(limits.HeaderBytes)
	}
	c.sides[Client].phase = inPreface
	return c
}

func (c *connection2) step(p *Parser, end End, s *side, data []byte) (n int, again bool) {
	t := &c.sides[end]
	switch t.phase {
	case inPreface:
		n = min(len(data), len(preface))
		switch {
		case string(data[:n]) != preface[:n]:
			p.giveUp(end, Preface, s.at)
			return len(data), false
		case n < len(preface):
			return 0, false
		}
		t.phase = inFrame
		// What a server that spoke first said binds the frames that follow.
		return n, c.fromUpgrade || p.sides[Server].offered == 0
	case inFrame:
		n, why := c.beginFrame(p, end, s, data)
		if why != None {
			p.giveUp(end, why, p.Undecided(end))
			return len(data), false
		}
		return n, n > 0
	}
	n, why := c.payload(p, end, s, data)
	if why != None {
		p.giveUp(end, why, p.Undecided(end))
		return len(data), false
	}
	return n, n > 0
}

// beginFrame reads a frame's header and prefix. What needs no more is done.
func (c *connection2) beginFrame(p *Parser, end End, s *side, data []byte) (n int, why Reason) {
	if len(data) < frameHeaderSize {
		return 0, None
	}
	t := &c.sides[end]
	f := frameOf(data)
	largest := t.largest
	if p.sides[end.Other()].state == broken {
		largest = maxMaxFrame // its settings were not all seen
	}
	if why = f.check(largest); why != None {
		return 0, why
	}
	continues := f.kind == frameContinuation
	switch {
	case !t.begun && f.kind != frameSettings:
		return 0, Preface
	case t.inBlock != continues, continues && f.stream != t.frame.stream:
		return 0, FrameType
	case f.kind == framePush && end == Client:
		return 0, FrameType
	}
	n = frameHeaderSize + int(f.prefix())
	if len(data) < n {
		return 0, None
	}
	x, why := f.readPrefix(data[frameHeaderSize:n])
	if why != None {
		return 0, why
	}
	if continues {
		f.flags = f.flags&^flagEndStream | t.frame.flags&flagEndStream
	}
	t.begun, t.phase, t.frame = true, inPayload, f
	t.left, t.pad = f.length-f.prefix(), x.padding
	switch f.kind {
	case frameData:
		why = c.data(end, &f, t.left-t.pad)
	case frameHeaders, framePush:
		t.inBlock, t.blockStart, t.frames, t.bytes = true, s.at, 1, uint64(f.length)
		t.block.begin(p, x.number)
	case frameContinuation:
		if t.frames++; t.frames > p.limits.Continuations {
			why = TooManyContinuations
		}
		if t.bytes += uint64(f.length); t.bytes > maxCompressed*uint64(p.limits.HeaderBytes) {
			why = TooManyHeaderBytes
		}
	case frameReset:
		c.reset(p, end, f.stream, s.at)
	case frameGoAway:
		c.goAway(p, end, x.number)
	}
	if why == None && t.left == 0 {
		why = c.endFrame(p, end, s.at+uint64(n))
	}
	return n, why
}

// payload reads what a frame carries.
func (c *connection2) payload(p *Parser, end End, s *side, data []byte) (n int, why Reason) {
	t := &c.sides[end]
	n = int(min(t.left, uint32(min(len(data), maxMaxFrame))))
	switch t.frame.kind {
	case frameSettings:
		if n < 6 {
			return 0, None
		}
		n = 6
		if why = c.setting(p, end.Other(), binary.BigEndian.Uint16(data), binary.BigEndian.Uint32(data[2:])); why != None {
			return 0, why
		}
	case frameHeaders, framePush, frameContinuation:
		fragment := min(n, int(t.left-t.pad))
		_, err := t.decoder.Write(data[:fragment])
		if err != nil {
			return 0, t.why(err)
		}
	}
	t.left -= uint32(n)
	t.pad = min(t.pad, t.left)
	if t.left == 0 {
		why = c.endFrame(p, end, s.at+uint64(n))
	}
	return n, why
}

// why is the reason of an error of header compression. The state of the tables is
// lost with it.
func (t *side2) why(err error) Reason {
	if errors.Is(err, hpack.ErrStringLength) || t.beyond {
		return TableSize
	}
	return HeaderCompression
}

// endFrame is when the last byte of a frame is there; after is the offset behind it.
func (c *connection2) endFrame(p *Parser, end End, after uint64) Reason {
	t := &c.sides[end]
	t.phase = inFrame
	f := t.frame
	switch f.kind {
	case frameData:
		if f.has(flagEndStream) {
			c.endStream(p, end, f.stream, after)
		}
	case frameHeaders, framePush, frameContinuation:
		if !f.has(flagEndHeaders) {
			return None
		}
		if err := t.decoder.Close(); err != nil {
			return t.why(err)
		}
		if why := c.section2(p, end, &f, after); why != None {
			return why
		}
		t.inBlock = false
	}
	return None
}

// skippable is how many bytes of the current frame tell nothing.
func (t *side2) skippable() uint64 {
	if t.phase == inPayload && t.frame.kind != frameSettings && !t.inBlock {
		return uint64(t.left)
	}
	return 0
}

func (c *connection2) skip(p *Parser, end End, s *side, n uint64) {
	t := &c.sides[end]
	s.at += n
	t.left -= uint32(n)
	t.pad = min(t.pad, t.left)
	if t.left == 0 {
		c.endFrame(p, end, s.at) // of DATA, or of nothing: there is no reason
	}
}

func (c *connection2) close(p *Parser, end End, s *side) {
	t := &c.sides[end]
	if s.offered > 0 || t.inBlock || t.phase == inPayload {
		p.giveUp(end, Truncated, p.Undecided(end))
	}
	c.cut(p, end, s.at)
}
