package inspector

import (
	"time"

	"github.com/weirnet/weir/internal/inspect/stream"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// The ends of a connection, as indexes.
const (
	client = 0 // the initiator
	server = 1
)

// phase is how far the look into a connection has come.
type phase uint8

const (
	detecting phase = iota
	reading         // its protocol is known, and a reader has it
	done            // more can tell nothing, or nobody wants it
)

// conn is a connection that is looked into, or was.
type conn struct {
	Connection
	phase   phase
	streams stream.Conversation
	// reader reads a stream's protocol, quic that of datagrams: in phase reading. Those
	// of DNS need none.
	reader reader
	quic   *quicReader
	// base is where the protocol at hand begins in each stream: 0, or behind what
	// changed to it.
	base [2]uint64
	// closed: the reader was told the stream's end. limited is one more than the
	// offset at which it last was told of the limit.
	closed  [2]bool
	limited [2]uint64
	// cut: a request or query in it was blocked in prevent mode. What was withheld is not
	// let go by a policy to come: what follows the request was not judged.
	cut bool
	// deaf: what the server said before the client is lost.
	deaf bool
	// asks: a query of DNS was seen. queries are the cookies of those that wait for an
	// answer.
	asks    bool
	queries []uint64
	// isMissed: see Connection.Missed.
	isMissed bool
	// offered is how many bytes came whose protocol is not known: of datagrams, or of
	// what is to be picked up again.
	offered int

	facts policy.Facts
	// judged is the connection's verdict, told is what the last Settlement said of it.
	judged verdict
	told   verdict
	// application is that of the outermost protocol.
	application policy.Application
	inquiry     inquiry
	// sealed, where set, is what the connection is judged by, whatever is read of it.
	sealed *policy.Facts
	// picked is one more than the offset at which each end's bytes were picked up last.
	picked [2]uint64
	// loss is why bytes are missing, where they were seen and given up; 0: they were
	// not seen.
	loss    policy.Cause
	judgeAt time.Duration // the age at which to judge again; 0: none
	// open: the last walk was undecided, whatever the verdict before.
	open    bool
	toldApp policy.Application
	// toldAnswers is Settlement.AnswersPass.
	toldAnswers bool
	windows     [2]Window  // as told
	skips       [2]skipped // of the Windows, in offsets
	seen        [2]uint64  // the offset behind the furthest byte that came of each end

	held   int // bytes, by its parsers
	holder holder

	last         time.Time
	older, newer *conn
}

// open begins to look into a connection; nil where it is not to be looked into.
func (i *Inspector) open(of *Connection) *conn {
	if of.Tuple.Protocol != packet.TCP && of.Tuple.Protocol != packet.UDP {
		return nil
	}
	c := &conn{Connection: *of, last: i.now}
	c.facts = policy.Facts{
		Direction: 1 << (of.Direction - 1), Source: of.Tuple.Source, Destination: of.Tuple.Destination,
		Protocol: of.Tuple.Protocol, SourcePort: of.Tuple.SourcePort, DestinationPort: of.Tuple.DestinationPort,
		Loopback: of.Loopback, OwnSocket: of.Own, Kept: of.Kept, Names: of.Names,
	}
	i.counts[Opened]++
	i.byID[c.ID] = c
	c.windows[client].Wants, c.windows[server].Wants = true, true
	c.streams.Open(i.budget, of.Tuple.Source)
	i.byStream[&c.streams] = c
	i.link(c)
	i.judge(c)
	if !of.Pending {
		c.told = c.judged // the flow table has found the same
	}
	if of.Own {
		i.lose(c, policy.NotSeen)
	}
	return c
}

// lose says that it will never be known what a connection speaks.
func (i *Inspector) lose(c *conn, cause policy.Cause) {
	if c.sealed == nil {
		c.facts.Application = policy.Lost[policy.Application](cause)
		i.judge(c)
	}
	i.stop(c)
}

// stop ends the look into a connection. What is known of it stays, for a policy to
// come.
func (i *Inspector) stop(c *conn) {
	if c.phase == done {
		return
	}
	if c.reader != nil {
		c.reader.finish(i, c)
	}
	if c.quic != nil {
		c.quic.finish(i, c)
	}
	if c.sealed == nil && c.facts.Application.State == policy.Unobtainable {
		i.counts[lostBy(c.facts.Application.Cause)]++
	}
	c.phase, c.reader, c.quic = done, nil, nil
	i.setHeld(c, 0)
	for end := range 2 {
		c.streams.Stream(end).Skip(everything)
	}
}

const everything = 1<<64 - 1

// end ends a connection: what has not come will not.
func (i *Inspector) end(c *conn) {
	if c.phase != done && c.Tuple.Protocol == packet.TCP {
		c.streams.Finish()
		i.pump(c, client)
		if c.phase == detecting && c.sealed == nil {
			now := i.now
			i.now = c.last // what it said was said by then
			i.silent(c)
			i.pump(c, server)
			i.now = now
		}
		for end := range 2 {
			if c.phase == reading && !c.closed[end] {
				c.closed[end] = true
				c.reader.close(i, c, end)
			}
		}
	}
	i.stop(c)
	i.settle(c)
	i.forget(c)
}

// evicted is called with a connection that has given way to others.
func (i *Inspector) evicted(s *stream.Conversation) {
	c := i.byStream[s]
	if c == nil {
		return
	}
	i.counts[Evicted]++
	i.abandon(c)
}

func (i *Inspector) forget(c *conn) {
	i.leaveUnanswered(c)
	delete(i.byID, c.ID)
	delete(i.byStream, &c.streams)
	i.unlink(c)
	c.streams.Release()
	if i.config.OnForget != nil {
		i.config.OnForget(c.ID)
	}
}

// lose says that what is not known by now will not be.
func (c *conn) lose(cause policy.Cause) {
	f := &c.facts
	sealed(&f.Application, cause)
	sealed(&f.HTTP.Host, cause)
	sealed(&f.HTTP.Path, cause)
	sealed(&f.HTTP.Method, cause)
	sealed(&f.HTTP.Headers, cause)
	sealed(&f.HTTP.Version, cause)
	sealed(&f.TLS.ServerName, cause)
	sealed(&f.TLS.Version, cause)
	sealed(&f.TLS.ECH, cause)
	sealed(&f.TLS.Certificate, cause)
	sealed(&f.DNS.Name, cause)
	sealed(&f.DNS.Type, cause)
	sealed(&f.SSH.PublicKey, cause)
	sealed(&f.SSH.Software, cause)
}

func sealed[T any](f *policy.Fact[T], cause policy.Cause) {
	if f.State == policy.Unknown {
		*f = policy.Lost[T](cause)
	}
}

func (c *conn) ref() telemetry.ConnectionRef {
	return telemetry.ConnectionRef{
		ID: c.ID, Tuple: c.Tuple, Direction: c.Direction, Interface: c.Interface, FirstSeen: c.FirstSeen,
	}
}

// touch makes c the one whose packet came last.
func (i *Inspector) touch(c *conn) {
	c.last = i.now
	if i.newest != c {
		i.unlink(c)
		i.link(c)
	}
}

func (i *Inspector) link(c *conn) {
	c.older, c.newer = i.newest, nil
	if i.newest != nil {
		i.newest.newer = c
	} else {
		i.oldest = c
	}
	i.newest = c
}

func (i *Inspector) unlink(c *conn) {
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		i.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		i.newest = c.older
	}
	c.older, c.newer = nil, nil
}
