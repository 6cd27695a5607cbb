package inspector

import (
	"time"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// Settlement is what the flow table is to know of a connection. The verdict is that
// of the connection; those of single requests and queries are in their records.
type Settlement struct {
	ID    uint64
	Tuple packet.Tuple
	// Tables is the number of the policy that judged: where the flow table has another
	// by now, the verdict is void.
	Tables uint32
	// Rule and ShadowRule are indexes of walked rules, or ^0. Matched is the shadow
	// rule that decides among all rules, also where it agrees, or ^0.
	Rule, ShadowRule, Matched uint32
	// Action is 0 while it is undecided.
	Action, ShadowAction policy.Action
	Reason               policy.Reason
	// JudgeAt is when a rule's duration is over, so that it must be judged again; zero:
	// never.
	JudgeAt time.Time
	// Application is the protocol that the connection began with; 0: not known yet, or
	// never.
	Application policy.Application
	// AnswersPass: of what the server says nothing is judged, and nothing is to be learned
	// before it arrives.
	AnswersPass bool
	// Windows say what is still wanted of each end. Nothing of either: the look into
	// the connection is over.
	Windows [2]Window
}

// Window says which bytes of an end are still wanted.
type Window struct {
	Wants bool
	// Skips: those from the sequence number From up to Until need not be seen. Renews: nor
	// what follows, which there is a window for when half of this one is used.
	Skips, Renews bool
	From, Until   uint32
}

// leastSkip is the least number of bytes that it is worth to leave out.
const leastSkip = 16 << 10

// mostSkip is the largest number of bytes that are left out without a look: with
// half of the sequence numbers nobody could tell before from behind.
const mostSkip = 1 << 28

// behind is how many bytes before what came last stay in the window when it moves on: what
// is under way may be lost, and is sent again.
const behind = 1 << 25

// settle tells what is new of a connection.
func (i *Inspector) settle(c *conn) {
	windows := [2]Window{i.window(c, client), i.window(c, server)}
	j := &c.judged
	answersPass := c.letsAnswersPass()
	if c.told.same(j) && windows[client].same(c.windows[client]) && windows[server].same(c.windows[server]) &&
		c.application == c.toldApp && answersPass == c.toldAnswers {
		return
	}
	c.told, c.windows, c.toldApp, c.toldAnswers = *j, windows, c.application, answersPass
	var at time.Time
	if c.judgeAt > 0 {
		at = c.FirstSeen.Add(c.judgeAt)
	}
	i.settlements = append(i.settlements, Settlement{
		ID: c.ID, Tuple: c.Tuple, Tables: j.tables, Rule: j.rule, ShadowRule: j.shadowRule, Matched: j.matched,
		Action: j.action, ShadowAction: j.shadowAction, Reason: j.reason, JudgeAt: at,
		Application: c.application, AnswersPass: answersPass, Windows: windows,
	})
}

// letsAnswersPass says whether all that the server says may go on unseen: its connection
// is allowed, and no criterion asks for it. Answers of DNS are to be known before their
// addresses are used.
func (c *conn) letsAnswersPass() bool {
	if c.phase != reading || c.judged.action != policy.Allow || c.Tuple.Protocol != packet.TCP {
		return false
	}
	switch c.reader.(type) {
	case *httpReader, *textReader:
		return true
	}
	return false
}

// same says whether two verdicts are told in the same way.
func (v *verdict) same(o *verdict) bool {
	return v.tables == o.tables && v.rule == o.rule && v.action == o.action && v.reason == o.reason &&
		v.shadowRule == o.shadowRule && v.shadowAction == o.shadowAction
}

// same says whether two windows end alike. Where they begin moves with what comes.
func (w Window) same(o Window) bool {
	return w.Wants == o.Wants && w.Skips == o.Skips && w.Until == o.Until
}

// window is what is still wanted of an end.
func (i *Inspector) window(c *conn, end int) Window {
	if c.phase == done {
		return Window{}
	}
	if c.Tuple.Protocol != packet.TCP {
		return Window{Wants: c.quic == nil || c.quic.wants(end)}
	}
	if c.phase == reading && !c.reader.wants(end) {
		return Window{}
	}
	w := Window{Wants: true}
	s := c.streams.Stream(end)
	if at := s.Offset(); s.Begun() && at != everything && at > c.seen[end] && at-c.seen[end] >= leastSkip {
		k := &c.skips[end]
		k.move(at, c.seen[end])
		w.Skips, w.Renews, w.From, w.Until = true, k.to < at, s.Sequence(k.from), s.Sequence(k.to)
	}
	return w
}

// skipped is what of a stream is left out: the part from `began` up to `end`, and of it at
// present what lies in [from, to).
type skipped struct {
	began, end uint64
	from, to   uint64
}

// move moves what is left out on, where a new part begins at `seen`, which came last, or
// half of what is left out has come.
func (k *skipped) move(end, seen uint64) {
	if k.end != end {
		*k = skipped{began: seen, end: end, from: seen}
	} else if k.to == end || seen < k.from+(k.to-k.from)/2 {
		return
	}
	k.from = max(k.began, seen-min(seen, behind))
	k.to = min(end, k.from+mostSkip)
}
