package flow

import "github.com/weirnet/weir/internal/packet"

// What a rule says of answering the sender of what it blocks, in Settlement.
const (
	RejectByPolicy uint8 = iota
	RejectYes
	RejectNo
)

// Settlement is what was found out about a connection from what it says.
type Settlement struct {
	// Tuple is the connection's, either end first.
	Tuple packet.Tuple
	ID    uint64

	// Judged: the fields from Tables to JudgeAt are a verdict. It is written, counted
	// and told as if the walk at the packet had come to it.
	Judged bool
	// Tables is the number of the policy that was walked: it must be the one in
	// force.
	Tables uint32
	Rule   uint32 // index into Policy.Walked, or NoRule
	Action Action // Allow or Block
	Reason Reason // any but ReasonNone and ReasonPending
	Reject uint8
	// ShadowRule is the shadow rule that decides the second walk, or NoRule, and
	// ShadowAction what that comes to. Both are counted; they are told of where the
	// action differs.
	ShadowRule   uint32
	ShadowAction Action
	// JudgeAt is when a duration is over, so that the connection must be judged again;
	// 0: never. It counts where the policy has not judged the connection yet.
	JudgeAt int64

	// Application is what the connection speaks; ApplicationUnknown leaves what was
	// said before.
	Application uint8
	// Done: nothing more is looked for.
	Done bool
}

// SettleResult is what became of a Settlement. All but Settled: nothing was written.
// The numbers are those of bpf/settle.h.
type SettleResult uint8

// The results.
const (
	Settled            SettleResult = iota
	SettledGone                     // there is no such connection, or its end was told
	SettledOtherEpoch               // another connection has its tuple
	SettledOtherTables              // the policy that was walked is not in force
	SettledRefused                  // a field has a value that it cannot have
)

// Settle writes into a connection's entry what was found out about it. It appends
// what is to be told to events.
func (t *Tracker) Settle(s *Settlement, events []Event) (SettleResult, []Event) {
	k, _ := keyOfTuple(&s.Tuple, false)
	e := t.table[k]
	switch {
	case e == nil, e.follower, e.endTold:
		return SettledGone, events
	case e.id != s.ID:
		return SettledOtherEpoch, events
	case s.isRefused():
		return SettledRefused, events
	case s.Judged && s.Tables != t.version.tables:
		return SettledOtherTables, events
	}
	if s.Judged {
		t.settleVerdict(e, s)
	}
	if s.Application != ApplicationUnknown {
		e.application = s.Application
	}
	if s.Done {
		e.held, e.looked, e.awaits = false, false, false
	}
	if !e.startTold || e.verdictDue || e.endDue() {
		events = e.tellDue(events)
	}
	return Settled, events
}

func (s *Settlement) isRefused() bool {
	if s.Application > ApplicationOther {
		return true
	}
	return s.Judged && (s.Action != Allow && s.Action != Block || s.Reason == ReasonNone || s.Reason == ReasonPending ||
		s.Reason > ReasonNotSeen || s.Reject > RejectNo || s.ShadowAction > Block)
}

// settleVerdict writes a verdict as judge would have, had it known more.
func (t *Tracker) settleVerdict(e *entry, s *Settlement) {
	v := t.version
	verdict := e.verdict
	shadowRule, shadowAction := e.shadowRule, e.shadowAction
	changed := e.action != s.Action || e.reason != s.Reason || e.rule != s.Rule
	// A change of policy cuts it, and not what it said.
	byPolicy := e.reason == ReasonKept || e.tables != v.tables
	if e.tables != v.tables {
		e.judgeAt = s.JudgeAt
	}
	e.tables, e.rule, e.action, e.reason = v.tables, s.Rule, s.Action, s.Reason
	e.shadowRule, e.shadowAction = NoRule, NoAction
	if s.ShadowAction != NoAction && s.ShadowAction != s.Action && s.Reason != ReasonKept {
		e.shadowRule, e.shadowAction = s.ShadowRule, s.ShadowAction
	}
	t.enforce(e, nil)
	if e.drop && s.Reject != RejectByPolicy {
		e.reject = s.Reject == RejectYes
	}
	switch {
	case changed || verdict != e.verdict:
		e.verdictDue = true
		t.countJudgement(e, decision{rule: s.Rule, shadowRule: s.ShadowRule})
	case shadowRule != e.shadowRule || shadowAction != e.shadowAction:
		e.verdictDue = true
		t.countMatches(decision{rule: NoRule, shadowRule: s.ShadowRule})
	}
	switch {
	case e.closed:
	case e.verdict != Blocked:
		e.end = EndNone
	case verdict == Blocked:
	case byPolicy:
		e.end = EndPolicy
	default:
		e.end = EndBlocked
	}
}
