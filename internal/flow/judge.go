package flow

import (
	"slices"
	"time"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// NoRule is Event.Rule where no rule decided.
const NoRule = ^uint32(0)

// version is a policy in force, with what is asked of it at every judgement.
type version struct {
	tables  uint32
	policy  *policy.Policy
	walked  []policy.Rule
	matches []uint64
	// promoted has the shadow rules as ordinary ones; nil without any.
	promoted       *policy.Policy
	aging          bool // it has duration rules
	empty          bool // it claims nothing
	prevent        bool
	blockMalformed bool
	blockNonIP     bool
	related        bool // ICMP errors belong to what they quote
}

// Swap puts a policy in force, from the next packet on; live connections are
// judged again at theirs. It is taken as it stands: rules that expire are left out
// by Policy.Without. It returns the policy's number, which events bear, and how
// often each of the walked rules matched of the one before.
func (t *Tracker) Swap(p *policy.Policy) (tables uint32, matches []uint64) {
	v := &version{
		tables: 1, policy: p, walked: p.Walked(), empty: p.Empty(), prevent: p.Mode == policy.Prevent,
		blockMalformed: p.OnError.For(policy.Malformed) == policy.Block,
		blockNonIP:     p.NonIP == policy.Block,
		related:        p.Safeguards.ICMPErrors,
		promoted:       p.WithShadows(),
	}
	v.matches = make([]uint64, len(v.walked))
	for i := range v.walked {
		for _, tr := range v.walked[i].Transports {
			v.aging = v.aging || tr.Over > 0
		}
	}
	if t.version != nil {
		v.tables, matches = t.version.tables+1, t.version.matches
	}
	t.version = v
	return v.tables, matches
}

// Matches is how often each of the walked rules of the policy in force decided, or
// of a shadow rule would have.
func (t *Tracker) Matches() []uint64 { return t.version.matches }

// decision is what a judgement counts, the rules that matched, and whether the one
// that decided is about the connection's age.
type decision struct {
	rule, shadowRule uint32
	byDuration       bool
}

// judge writes into e what the policy says of it. Where that needs facts which are
// not known, what was decided before stays.
func (t *Tracker) judge(e *entry, now int64) decision {
	v := t.version
	if v.empty {
		e.tables, e.judgeAt = v.tables, 0
		e.rule, e.action, e.reason = NoRule, NoAction, ReasonNone
		e.shadowRule, e.shadowAction = NoRule, NoAction
		t.enforce(e, nil)
		return decision{rule: NoRule, shadowRule: NoRule}
	}
	t.setFacts(e, now-e.first)
	e.judgeAt = 0
	if v.aging {
		if next := v.policy.NextAge(&t.facts); next > 0 {
			e.judgeAt = e.first + int64(next)
		}
	}
	answer := v.policy.Walk(&t.facts)
	action, reason := Action(answer.Action), Reason(answer.Reason)
	if reason == ReasonPending {
		decided := e.tables != 0 && t.cause == 0 && e.reason != ReasonPending
		if decided && e.tables == v.tables {
			return decision{rule: NoRule, shadowRule: NoRule} // nothing is new but its age
		}
		lost := v.prevent && !e.held && t.hold.On
		// What detect mode let pass was open before, too.
		wasOpen := decided || e.tables != 0 && lost && e.verdict == Detected || lost && t.wasOpenBefore(e)
		switch {
		case wasOpen && (!lost || v.policy.OnError.Keep):
			action, reason = v.keptAction(e), ReasonKept
		case lost && t.mayBeKnown(e):
			action, reason = Allow, ReasonKept
			e.held, e.returns, e.looked = true, true, false
		case lost:
			cause := t.cause
			if cause == 0 {
				cause = policy.NotSeen
			}
			answer = t.walkLost(cause)
			action, reason = Action(answer.Action), Reason(answer.Reason)
		}
	}
	e.tables, e.action, e.reason = v.tables, action, reason
	e.rule, e.shadowRule, e.shadowAction = NoRule, NoRule, NoAction
	if answer.Index >= 0 {
		e.rule = uint32(answer.Index)
	}
	d := decision{rule: e.rule, shadowRule: NoRule, byDuration: isByDuration(answer.Rule, e.tuple.Protocol)}
	if v.promoted != nil {
		d.shadowRule = t.walkShadows(e, &answer)
	}
	t.enforce(e, answer.Rule)
	return d
}

// isByDuration says whether a rule that matched asked for the connection's age.
func isByDuration(r *policy.Rule, protocol uint8) bool {
	return r != nil && slices.ContainsFunc(r.Transports, func(tr policy.Transport) bool {
		return tr.Protocol == protocol && tr.Over > 0
	})
}

// keptAction is what a connection keeps that was decided before, by a policy that
// may have been of the other mode, where what the present one asks for is not known.
func (v *version) keptAction(e *entry) Action {
	switch {
	case v.prevent && e.verdict == Blocked:
		return Block
	case v.prevent || e.action == NoAction:
		return Allow
	}
	return e.action
}

// enforce makes the action of e a verdict.
func (t *Tracker) enforce(e *entry, rule *policy.Rule) {
	v := t.version
	e.verdict, e.prevent, e.drop, e.reject = Detected, v.prevent, false, false
	if !v.prevent {
		e.held = false // nothing waits
		return
	}
	switch {
	case e.action == Block:
		e.verdict, e.drop = Blocked, true
		e.reject = v.wantsReject(rule, e.direction)
	case e.reason == ReasonPending:
		e.verdict = Pending
	default:
		e.verdict = Allowed
	}
}

// walkShadows sets what differs with the shadow rules, and returns the shadow rule
// that decides then, also one that agrees: its count shows that it matches.
func (t *Tracker) walkShadows(e *entry, answer *policy.Decision) uint32 {
	second := t.version.promoted.Walk(&t.facts)
	rule := NoRule
	if second.Index >= 0 && t.version.walked[second.Index].Shadow {
		rule = uint32(second.Index)
	}
	if answer.ShadowAction != 0 {
		e.shadowRule, e.shadowAction = rule, Action(answer.ShadowAction)
	}
	return rule
}

func (t *Tracker) setFacts(e *entry, age int64) {
	f := &t.facts
	*f = policy.Facts{
		Direction: 1 << (e.direction - 1), Protocol: e.tuple.Protocol,
		Source: e.tuple.Source, Destination: e.tuple.Destination,
		SourcePort: e.tuple.SourcePort, DestinationPort: e.tuple.DestinationPort,
		ICMPType: e.tuple.ICMPType, ICMPCode: e.tuple.ICMPCode,
		Age: time.Duration(age), Loopback: e.loopback, OwnSocket: e.own, Names: e.names,
	}
	if e.neighbor {
		f.HopLimit = 255
	}
}

func (v *version) wantsReject(r *policy.Rule, d packet.Direction) bool {
	if r != nil && r.Reject != nil {
		return *r.Reject
	}
	return v.policy.Reject == policy.RejectAlways || v.policy.Reject == policy.RejectOutbound && d == packet.Outbound
}

// judgeAgain judges e after a change of policy, or at a duration rule's time.
func (t *Tracker) judgeAgain(e *entry, now int64) {
	verdict, action, reason := e.verdict, e.action, e.reason
	due := e.judgeAt != 0 && now >= e.judgeAt
	d := t.judge(e, now)
	if e.closed {
		return
	}
	if verdict != e.verdict || action != e.action || reason != e.reason {
		e.verdictDue = true
		t.countJudgement(e, d)
	}
	// Takes effect when the connection is cut, or ends by itself.
	switch {
	case e.verdict != Blocked:
		e.end = EndNone
	case verdict != Blocked && due && d.byDuration:
		e.end = EndDuration
	case verdict != Blocked:
		e.end = EndPolicy
	}
}
