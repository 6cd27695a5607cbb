// Package inspector joins the parsers: from the packets of connections to what was
// said inside of them (telemetry.Exchange), and to what the policy says of them
// once that is known (Settlement). Live detection, the hold of prevent mode and
// replays all go through it, so that what is released, told and shown is the same.
//
// It is pure: no goroutines, no clock but the times that are passed in, no I/O. It
// is not for concurrent use.
package inspector

import (
	"time"

	"github.com/weirnet/weir/internal/inspect/dns"
	"github.com/weirnet/weir/internal/inspect/http"
	"github.com/weirnet/weir/internal/inspect/stream"
	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// Inspector looks into connections.
type Inspector struct {
	config   Config
	version  *version
	http     *http.Config
	budget   *stream.Budget
	byID     map[uint64]*conn
	byStream map[*stream.Conversation]*conn
	oldest   *conn // in the order of their last packets
	newest   *conn
	queries  *dns.Table
	asked    map[uint64]telemetry.Exchange // queries that wait for an answer, by cookie
	cookie   uint64
	learner  learner
	message  dns.Message
	held     int    // bytes, by all parsers
	holders  holder // a ring, from the one that has held something longest
	counts   [counterCount]uint64
	suspect  bool    // the last packet
	yielded  []*conn // for others, since the last packet; nil: forgotten by then

	now         time.Time // of the packet at hand
	exchanges   []telemetry.Exchange
	settlements []Settlement
	questions   []Question
}

// New makes an inspector without a policy.
func New(c Config) *Inspector {
	c.setDefaults()
	i := &Inspector{
		config: c, byID: map[uint64]*conn{}, byStream: map[*stream.Conversation]*conn{},
		budget:  stream.NewBudget(c.Streams),
		queries: dns.NewTable(c.MaxQueries, c.QueryTimeout), asked: map[uint64]telemetry.Exchange{},
	}
	i.budget.OnEvict = i.evicted
	i.budget.OnYield = func(s *stream.Conversation) { i.yielded = append(i.yielded, i.byStream[s]) }
	i.holders.prev, i.holders.next = &i.holders, &i.holders
	i.SetPolicy(Version{Policy: policy.Observe()}, time.Time{})
	return i
}

// Connection is what is known of a connection without looking into it.
type Connection struct {
	ID uint64
	// Tuple has the initiator's end as its source.
	Tuple     packet.Tuple
	Direction packet.Direction
	Interface string
	FirstSeen time.Time
	// Names are those that DNS had answered the destination for when the first packet
	// came.
	Names []string
	// Own: of Weir's own process. It is never looked into.
	Own      bool
	Loopback bool
	// Pending: the flow table waits for facts of it, names among them, which it does not
	// know.
	Pending bool
	// Kept: it was already allowed, or open when Weir first attached.
	Kept bool
	// Missed: bytes of it passed that are not shown and that nothing else tells of. With the
	// packets of a connection that is known it is what became of it since.
	Missed bool
}

// Packet is a TCP segment or a UDP datagram.
type Packet struct {
	Time time.Time
	// End sent it: 0 is the initiator.
	End int
	// Seq, Ack and Flags are valid for TCP; Flags as in package packet.
	Seq, Ack uint32
	Flags    uint8
	// Payload must stay as it is until Packet returns.
	Payload []byte
	// Missing is how many bytes of the payload there were behind Payload.
	Missing int
	// LeftOut is what packets of TCP said that are not shown; nil where all are.
	LeftOut *LeftOut
}

// LeftOut is what somebody else knows of the packets of a TCP connection.
type LeftOut struct {
	// Initial are the sequence numbers of each end's SYN, valid with HasInitial.
	Initial    [2]uint32
	HasInitial [2]bool
	// Acked are the highest acknowledgment numbers that each end has sent before the
	// packet at hand, valid with HasAcked.
	Acked    [2]uint32
	HasAcked [2]bool
}

// Packet takes a packet of a connection, which is opened when it is the first. It
// returns the action for a datagram that is judged by itself, as a DNS query is; 0
// where the connection's verdict counts. The packets of a connection come in the
// order in which they were seen.
func (i *Inspector) Packet(of *Connection, p *Packet) policy.Action {
	i.now, i.suspect = p.Time, false
	c := i.byID[of.ID]
	if c == nil {
		if of.Own {
			i.counts[Own]++
		}
		if c = i.open(of); c == nil {
			return 0
		}
	}
	i.touch(c)
	if of.Missed && !c.isMissed {
		c.isMissed = true
		c.facts.Kept = c.facts.Kept || of.Kept
		if c.Tuple.Protocol == packet.TCP && c.phase != done && c.sealed == nil {
			i.miss(c)
		}
	}
	if c.phase == done {
		i.settle(c) // if it was opened so
		return 0
	}
	var action policy.Action
	if c.Tuple.Protocol == packet.UDP {
		action = i.datagram(c, p)
	} else {
		i.segment(c, p)
	}
	// What is cut says no more, but for responses that are due.
	if c.judged.action == policy.Block && i.version.Policy.Mode == policy.Prevent && !i.AnswersDue(c.ID) {
		i.stop(c)
	}
	i.settle(c)
	i.weigh(c)
	i.answerYielded()
	return action
}

// Ended says that a connection is over: it was closed, or timed out.
func (i *Inspector) Ended(id uint64, at time.Time) {
	if c := i.byID[id]; c != nil {
		i.now = at
		i.end(c)
	}
}

// Expire gives up what has waited too long at now: queries without an answer, and
// connections whose end nobody has told. Where rules depend on the age of
// connections, these are judged again.
func (i *Inspector) Expire(now time.Time) {
	i.now = now
	i.expireQueries()
	for c := i.oldest; c != nil && now.Sub(c.last) > i.config.Idle; c = i.oldest {
		i.counts[Idle]++
		i.end(c)
	}
	if i.config.Names != nil {
		i.config.Names.Expire(now)
	}
	i.askLogins()
	if i.version.aging {
		for c := i.oldest; c != nil; c = c.newer {
			if c.judgeAt > 0 && now.Sub(c.FirstSeen) > c.judgeAt {
				i.judgeAgain(c)
			}
		}
	}
}

// Finish ends all connections: there will be no more packets.
func (i *Inspector) Finish(now time.Time) {
	i.now = now
	for i.oldest != nil {
		i.end(i.oldest)
	}
	for e := i.queries.Expire(distant); e != nil; e = i.queries.Expire(distant) {
		i.unanswered(e)
	}
}

// distant is beyond the time of any query.
var distant = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Exchanges are the records made since Reset, valid until its next call.
func (i *Inspector) Exchanges() []telemetry.Exchange { return i.exchanges }

// Settlements are those since Reset, valid until its next call. Of one connection
// the last counts.
func (i *Inspector) Settlements() []Settlement { return i.settlements }

// Reset forgets Exchanges, Settlements and Questions.
func (i *Inspector) Reset() {
	clear(i.exchanges)
	clear(i.questions)
	i.exchanges, i.settlements, i.questions = i.exchanges[:0], i.settlements[:0], i.questions[:0]
}

// Names is the table that DNS answers are learned into; nil where there is none.
func (i *Inspector) Names() *names.Table { return i.config.Names }
