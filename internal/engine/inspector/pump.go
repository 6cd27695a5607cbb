package inspector

import (
	"github.com/weirnet/weir/internal/inspect/stream"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// reader reads the two streams of a connection in one protocol. Offsets are those of
// that protocol: 0 is where it begins.
type reader interface {
	// read takes what an end has sent, from where the last call left off, and returns
	// how much of it need not come again.
	read(i *Inspector, c *conn, end int, data []byte) int
	// gap: n bytes, 0 for an unknown number, will not be seen.
	gap(i *Inspector, c *conn, end int, n uint64)
	// limit: no more is kept of an end than was shown last.
	limit(i *Inspector, c *conn, end int)
	// close: an end has sent its last byte.
	close(i *Inspector, c *conn, end int)
	// skip is how many bytes come next that tell nothing.
	skip(end int) uint64
	// wants says whether more bytes of an end can tell anything.
	wants(end int) bool
	// judged is the offset before which all has been judged.
	judged(end int) uint64
	// distrust: nobody knows any more what the receiver of an end's bytes reads.
	distrust(c *conn, end int)
	// held is about how many bytes it holds.
	held() int
	// finish tells what is left to tell. Nothing is called after it.
	finish(i *Inspector, c *conn)
}

// segment takes a TCP segment.
func (i *Inspector) segment(c *conn, p *Packet) {
	if p.LeftOut != nil {
		c.makeUp(p.LeftOut)
		if i.version.Policy.Mode == policy.Prevent && c.beginsElsewhere(p.LeftOut) {
			i.counts[Distrusted]++
			i.lose(c, policy.Malformed)
			return
		}
	}
	s := c.streams.Stream(p.End)
	flags := p.Flags
	if p.Missing > 0 {
		flags &^= packet.FIN // it lies behind what is missing
	}
	if c.windows[p.End].Skips && len(p.Payload) > 0 && s.Begun() {
		// What lies in the window before it has passed without a look. To wait until its
		// receiver acknowledges that would be to wait for the next packet, which may not
		// come before this one is sent on.
		if at := c.placeOf(p.End, p.Seq); at > c.seen[p.End] {
			s.Passed(min(at, c.skips[p.End].to))
		}
	}
	r := c.streams.Segment(p.End, p.Seq, p.Ack, flags, p.Payload)
	i.suspect = r.Events&(stream.Malformed|stream.Unchecked|stream.Stray|stream.Gone) != 0
	if s.Begun() {
		seq := p.Seq
		if flags&packet.SYN != 0 {
			seq++
		}
		end := c.placeOf(p.End, seq+uint32(len(p.Payload)))
		if p.Missing > 0 {
			end += uint64(p.Missing)
			s.Passed(end)
			if p.Flags&packet.FIN != 0 {
				c.streams.Segment(p.End, seq+uint32(len(p.Payload)+p.Missing), p.Ack, packet.FIN|packet.ACK, nil)
			}
		}
		c.seen[p.End] = max(c.seen[p.End], end)
	}
	if c.awaitsLogin() {
		c.reader.(*sshReader).ask(i, c) // whatever the packet's place in the stream
	}
	i.pump(c, p.End)
	if r.Events&stream.Malformed != 0 && c.phase != done {
		i.distrust(c, p.End)
	}
	c.streams.Stream(client).Hold()
	c.streams.Stream(server).Hold()
}

// makeUp takes what packets said that are not shown.
func (c *conn) makeUp(l *LeftOut) {
	for end := range 2 {
		s := c.streams.Stream(end)
		if l.HasInitial[end] && !s.Begun() {
			s.Segment(l.Initial[end], packet.SYN, nil)
		}
		if l.HasAcked[end^1] && s.Begun() {
			s.Acked(l.Acked[end^1])
		}
	}
}

// beginsElsewhere says whether a stream was read from data in a SYN whose number the ends
// have not agreed on: another SYN, which is not shown, was taken in its place.
func (c *conn) beginsElsewhere(l *LeftOut) bool {
	for end := range 2 {
		s := c.streams.Stream(end)
		if l.HasInitial[end] && s.FromStart() && s.Sequence(0) != l.Initial[end]+1 {
			return true
		}
	}
	return false
}

// placeOf is the offset of a sequence number near to what came last of an end: the
// stream itself may be far ahead, at the end of a body that is skipped.
func (c *conn) placeOf(end int, seq uint32) uint64 {
	s, near := c.streams.Stream(end), c.seen[end]
	if s.Offset() == everything {
		return 0
	}
	return uint64(max(0, int64(near)+int64(int32(seq-s.Sequence(near)))))
}

// pump shows the readers what has come, until none can go on.
func (i *Inspector) pump(c *conn, first int) {
	for progress := true; progress && c.phase != done; {
		progress = i.drain(c, first)
		if c.phase != done && i.drain(c, first^1) {
			progress = true
		}
	}
}

// drain shows what has come of one end; false where nothing came of it.
func (i *Inspector) drain(c *conn, end int) (progress bool) {
	s := c.streams.Stream(end)
	for c.phase != done {
		data := s.Next()
		if data == nil {
			hole, ok := s.Hole()
			if !ok {
				break
			}
			progress = true
			i.gap(c, end, hole)
			s.SkipHole()
			continue
		}
		n := i.offer(c, end, data)
		if c.phase == done {
			return true
		}
		if n > 0 {
			s.Consume(n)
			progress = true
			c.streams.Stream(end ^ 1).Reoffer()
		}
		if i.skip(c, end) {
			progress = true
		}
		if at := s.Offset(); len(data)-n > i.config.MaxBytes && c.limited[end] != at+1 {
			c.limited[end] = at + 1
			i.limit(c, end)
			s.Reoffer()
			progress = true
		}
	}
	if c.phase != done && !c.closed[end] && s.Closed() {
		c.closed[end] = true
		i.close(c, end)
		c.streams.Stream(end ^ 1).Reoffer()
		progress = true
	}
	return progress
}

// offer shows bytes of an end.
func (i *Inspector) offer(c *conn, end int, data []byte) (consumed int) {
	if c.phase == detecting {
		if c.sealed != nil {
			if consumed = i.pickUp(c, end, data); c.phase != reading {
				return consumed
			}
			return c.reader.read(i, c, end, data)
		}
		if end == server {
			return 0 // it is for whoever reads the protocol that the client will speak
		}
		n, m := 0, no
		if c.base[client] == 0 && c.streams.Stream(client).FromStart() {
			if n, m = proxyHeader(data); m == more {
				return 0
			}
			c.base[client] += uint64(n)
		}
		if n == len(data) {
			return n
		}
		i.detect(c, data[n:], false)
		if c.phase != reading || n > 0 {
			return n
		}
	}
	return c.reader.read(i, c, end, data)
}

// skip passes bytes that tell nothing; all that come where nothing is wanted.
func (i *Inspector) skip(c *conn, end int) bool {
	if c.phase != reading {
		return false
	}
	s := c.streams.Stream(end)
	n := c.reader.skip(end)
	if n == 0 {
		return false
	}
	s.Skip(n)
	if n != everything {
		c.reader.gap(i, c, end, n)
	}
	return true
}

// gap tells of bytes that will not be read.
func (i *Inspector) gap(c *conn, end int, hole stream.Hole) {
	if hole.Cause != policy.NotSeen && c.loss == 0 {
		c.loss = hole.Cause
	}
	switch {
	case c.phase == reading:
		c.reader.gap(i, c, end, hole.Length)
	case c.sealed != nil:
	case end == client && hole.Cause == policy.NotSeen:
		i.miss(c)
	case end == client:
		i.lose(c, hole.Cause)
	default:
		// What a server said first was missed: its part cannot be read.
		c.deaf = true
	}
}

// limit: an end has sent more than is kept, and it is not known what it means.
func (i *Inspector) limit(c *conn, end int) {
	switch {
	case c.phase == reading:
		c.reader.limit(i, c, end)
	case c.sealed != nil:
	case end == server && !c.streams.Stream(client).Begun():
		i.miss(c)
	case end == client:
		i.lose(c, policy.Limit)
	default:
		c.deaf = true
		c.streams.Stream(server).Skip(everything)
	}
}

// close: an end has sent its last byte.
func (i *Inspector) close(c *conn, end int) {
	switch {
	case c.phase == reading:
		c.reader.close(i, c, end)
	case c.sealed != nil:
	case end == client && c.streams.Stream(client).Offset() == c.base[client] && c.base[client] == 0:
		i.silent(c)
	case end == client:
		i.detect(c, nil, true)
	}
}

// distrust: bytes of an end came with two contents, or may be taken out of the
// stream, or lie behind its end: what the receiver reads is not known.
func (i *Inspector) distrust(c *conn, end int) {
	i.counts[Distrusted]++
	if c.phase == detecting {
		if end == client {
			i.lose(c, policy.Malformed)
		}
		return
	}
	c.reader.distrust(c, end)
	i.judge(c)
	i.stop(c)
}
