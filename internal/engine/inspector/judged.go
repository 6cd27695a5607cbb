package inspector

import (
	"time"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// Extent says how much of what an end sends has been judged.
type Extent uint8

// The extents.
const (
	// Nothing: the connection is blocked, or not known any more.
	Nothing Extent = iota
	// Part: what lies before a sequence number.
	Part
	// All: nothing of it waits for a verdict.
	All
)

// Judged says how far an end's bytes have been judged and may go on; until is valid
// with Part. Of a connection that is blocked, that is what comes before, while
// AnswersDue. It is for TCP; of other connections nothing waits that is not blocked.
func (i *Inspector) Judged(id uint64, end int) (until uint32, how Extent) {
	c := i.byID[id]
	switch {
	case c == nil || c.judged.action == policy.Block && !i.AnswersDue(id):
		return 0, Nothing
	case c.phase == done || c.sealed != nil || c.Tuple.Protocol != packet.TCP:
		return 0, All
	case end == server && (c.phase == detecting || c.answersPass()):
		return 0, All
	case c.awaitsLogin():
		// Both ends need all that they say to come to a login. That there was none was
		// found out when the packet at hand had come.
		return 0, All
	case end == server && c.open:
		// What the client is told may be what it waits for to go on.
		at := c.base[server]
		if r, ok := c.reader.(*tlsReader); ok {
			at += r.parser.Retry()
		}
		return c.streams.Stream(server).Sequence(at), Part
	case !c.open && !c.byRequest():
		return 0, All
	}
	at := c.base[end]
	if c.phase == reading && !(end == client && c.inquiry.early && c.inquiry.isOpen()) {
		judged := c.reader.judged(end)
		if judged == everything {
			return 0, All
		}
		at += judged
	}
	// Of a body that is longer than half of the sequence numbers its end would seem to lie
	// before what is at hand.
	return c.streams.Stream(end).Sequence(min(at, c.seen[end]+mostSkip)), Part
}

// answersPass: no criterion asks for what the server answers.
func (c *conn) answersPass() bool {
	switch c.reader.(type) {
	case *httpReader, *dnsReader, *textReader:
		return true
	}
	return false
}

// byRequest: what comes is judged anew, whatever the connection's verdict.
func (c *conn) byRequest() bool {
	if c.phase == detecting {
		return c.base != [2]uint64{} // behind a change of protocol
	}
	return c.answersPass()
}

// AnswersDue says whether requests that were allowed wait for their responses: a
// connection that is blocked for a later one ends when those are through.
func (i *Inspector) AnswersDue(id uint64) bool {
	c := i.byID[id]
	if c == nil || c.phase != reading {
		return false
	}
	r, ok := c.reader.(*httpReader)
	return ok && len(r.due) > 0
}

// Suspect says whether the last packet has bytes of which nobody knows what their
// receiver makes of them: they came before and had other content, or may have had, or
// are where no receiver expects them.
func (i *Inspector) Suspect() bool { return i.suspect }

// GiveUp says that no more is waited for: what is not known of a connection cannot be
// known any more, for a cause.
func (i *Inspector) GiveUp(id uint64, cause policy.Cause, now time.Time) {
	if c := i.byID[id]; c != nil && c.phase != done {
		i.now = now
		i.loseRest(c, cause)
		i.settle(c)
	}
}

// Awaited is the number of the first byte of an end that is still to be shown: it has
// not come, or there was no room for it; false where none is.
func (i *Inspector) Awaited(id uint64, end int) (seq uint32, ok bool) {
	c := i.byID[id]
	if c == nil || c.phase == done || !c.streams.Stream(end).Begun() {
		return 0, false
	}
	s := c.streams.Stream(end)
	return s.Sequence(s.Awaited()), true
}

// Contradict says that bytes of an end came with two contents, of which nobody knows
// which its receiver takes.
func (i *Inspector) Contradict(id uint64, end int, now time.Time) {
	if c := i.byID[id]; c != nil && c.phase != done {
		i.now = now
		i.distrust(c, end)
		i.settle(c)
	}
}

// loseRest says of what is not known of a connection that it cannot be had any more.
func (i *Inspector) loseRest(c *conn, cause policy.Cause) {
	c.loss = cause
	i.closeInquiry(c, cause)
	if c.facts.Application.State == policy.Unknown {
		c.facts.Application = policy.Lost[policy.Application](cause)
	}
	if _, http := c.reader.(*httpReader); http {
		c.facts.HTTP = lostHTTP(cause) // those known are of a request before
	}
	i.stop(c)
	c.lose(cause)
	i.judge(c)
}
