package inspector

import "github.com/weirnet/weir/internal/policy"

// What parsers hold, and requests that wait for their responses, is bounded for each
// connection and for all. Of all, those go first that have held something longest: who
// has no more to say is through soon.

// mostHeld is what the parsers of one connection may hold, in bytes.
const mostHeld = 4 << 20

// weigh notes what a connection's parsers hold, and gives up what is too much.
func (i *Inspector) weigh(c *conn) {
	n := 0
	switch {
	case c.phase != reading:
	case c.quic != nil:
		n = c.quic.parser.Held()
	case c.reader != nil:
		n = c.reader.held()
	}
	if n > mostHeld {
		i.giveUp(c)
		return
	}
	i.setHeld(c, n)
	for i.held > i.config.MaxHeld && i.holders.next != &i.holders {
		i.giveUp(i.holders.next.conn)
	}
}

// Holding is how many connections are remembered, and how many bytes are held for them.
func (i *Inspector) Holding() (connections, bytes int) {
	return len(i.byID), i.held + i.budget.Used()
}

func (i *Inspector) setHeld(c *conn, n int) {
	i.held += n - c.held
	switch {
	case c.held == 0 && n > 0:
		c.holder = holder{conn: c, prev: i.holders.prev, next: &i.holders}
		c.holder.prev.next, i.holders.prev = &c.holder, &c.holder
	case c.held > 0 && n == 0:
		c.holder.prev.next, c.holder.next.prev = c.holder.next, c.holder.prev
		c.holder = holder{}
	}
	c.held = n
}

// answerYielded answers for connections whose bytes have given way to others: in prevent
// mode they wait for a verdict. Else they have passed, and what comes behind is read.
func (i *Inspector) answerYielded() {
	for _, c := range i.yielded {
		if c != nil && i.byID[c.ID] == c && c.phase != done && i.version.Policy.Mode == policy.Prevent {
			i.counts[Yielded]++
			i.loseRest(c, policy.Overload)
			i.settle(c)
		}
	}
	clear(i.yielded)
	i.yielded = i.yielded[:0]
}

// giveUp forgets a connection for want of memory.
func (i *Inspector) giveUp(c *conn) {
	i.counts[GivenUp]++
	i.abandon(c)
}

// abandon forgets a connection that is not over: what was begun is told of. What comes
// of it later is in the midst of a connection.
func (i *Inspector) abandon(c *conn) {
	if c.phase != done {
		i.loseRest(c, policy.Overload)
		i.settle(c)
	}
	i.forget(c)
}

// holder is a connection's place among those whose parsers hold something.
type holder struct {
	conn       *conn
	prev, next *holder
}
