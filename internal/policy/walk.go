package policy

// Reason says where a decision comes from.
type Reason uint8

// The reasons; ReasonNone goes with a policy that claims nothing.
const (
	ReasonNone Reason = iota
	ReasonRule
	ReasonDefault
	ReasonSafeguard
	ReasonPending
	ReasonKept
	ReasonMalformed
	ReasonLimit
	ReasonOverload
	ReasonAgentDown
	ReasonNotSeen
)

// String is the value of the attribute weir.reason.
func (r Reason) String() string {
	return [...]string{
		"", "rule", "default", "safeguard", "pending", "kept", "error.malformed", "error.limit",
		"error.overload", "error.agent_down", "error.not_seen",
	}[r]
}

// reasonOf is the reason of an error answer.
func reasonOf(c Cause) Reason { return ReasonMalformed + Reason(c-Malformed) }

// Decision is the answer of a walk.
type Decision struct {
	// Action is 0 for "inspect": facts are wanted before there is an answer.
	Action Action
	// Rule decided, or gave rise to the error answer; nil for the default and for
	// "inspect". Index is its place in Walked, or -1.
	Rule  *Rule
	Index int
	// Reason is ReasonPending for "inspect".
	Reason Reason
	// Early: facts are still out, but the action is the same whichever way they
	// go. Rule and Reason are then those of the walk on which they turn out false.
	Early bool
	// Wanted are the facts of the first rule that is undecided, of a decision that
	// is early or "inspect".
	Wanted FactSet
	// ShadowRule and ShadowAction are set where the walk that includes shadow
	// rules comes to another action.
	ShadowRule   *Rule
	ShadowAction Action
	// ShadowWanted are the facts that walk waits for, whatever this one does;
	// nothing is held for them.
	ShadowWanted FactSet
}

// Walk judges the facts. It goes through the rules twice where there are shadow
// rules: once without, which decides, and once with them, which is only told.
func (p *Policy) Walk(f *Facts) Decision {
	if p.Empty() {
		return Decision{Action: Allow, Index: -1}
	}
	return p.walkTwice(f, nil)
}

// walkTwice tries the rules that an index has found, or all.
func (p *Policy) walkTwice(f *Facts, found *Index) Decision {
	w := walk{policy: p, facts: f, found: found, answer: Decision{Index: -1}}
	w.run()
	if !w.sawShadow {
		return w.answer
	}
	second := walk{policy: p, facts: f, found: found, shadows: true, answer: Decision{Index: -1}}
	second.run()
	d := w.answer
	if second.answer.Action == 0 || second.answer.Early {
		d.ShadowWanted = second.answer.Wanted
	}
	if d.Action != 0 && second.answer.Action != 0 && second.answer.Action != d.Action {
		d.ShadowRule, d.ShadowAction = second.answer.Rule, second.answer.Action
	}
	return d
}

// actions is a set of actions as bits.
type actions uint8

func one(a Action) actions { return 1 << a }

// walk is one way through the rules.
type walk struct {
	policy *Policy
	facts  *Facts
	found  *Index // nil: all rules are tried
	// shadows: shadow rules count like others.
	shadows bool
	// sawShadow: a shadow rule was passed that might have answered.
	sawShadow bool
	// undecided are the actions that rules passed so far may still give. While it
	// is empty, every fact that mattered was there.
	undecided actions
	answer    Decision
	// tell hears of each rule that was tried, and whether the walk ended there; nil
	// where nobody asked.
	tell func(r *Rule, index int, ends bool)
}

// run tries the rules in order until one decides. Once a rule is undecided, the
// walk goes on as if it were false, to see whether all ways lead to one action.
func (w *walk) run() {
	first, ended := w.runSafeguards()
	switch {
	case ended:
		return
	case w.found != nil:
		ended = w.found.run(w, first)
	default:
		for i := range w.policy.Rules {
			if ended = w.step(&w.policy.Rules[i], first+i); ended {
				break
			}
		}
	}
	if !ended {
		w.end(w.policy.defaultAction(), nil, -1, ReasonDefault)
	}
}

// runSafeguards tries those that are switched on. first is the index of the user's
// first rule.
func (w *walk) runSafeguards() (first int, ended bool) {
	for i, on := range w.policy.Safeguards.on() {
		if !on {
			continue
		}
		if w.step(&safeguardRules[i], first) {
			return 0, true
		}
		first++
	}
	return first, false
}

// step tries one rule and says whether the walk ends there.
func (w *walk) step(r *Rule, index int) bool {
	ends := w.try(r, index)
	if w.tell != nil {
		w.tell(r, index, ends)
	}
	return ends
}

// try judges one rule and says whether the walk ends there.
func (w *walk) try(r *Rule, index int) bool {
	if r.Shadow && !w.shadows {
		w.sawShadow = w.sawShadow || r.match(w.facts).can != isFalse
		return false
	}
	t := r.match(w.facts)
	switch {
	case t.can == isFalse:
		return false
	case t.can == isTrue:
		reason := ReasonRule
		if r.Safeguard() {
			reason = ReasonSafeguard
		}
		w.end(r.Action, r, index, reason)
		return true
	case t.can == isLost && t.causes.only() != 0:
		action, reason := w.lostAnswer(r, t.causes.only())
		if action == 0 {
			return false
		}
		w.end(action, r, index, reason)
		return true
	}
	return w.wait(r, index, t)
}

// lostAnswer is what a rule gives whose facts cannot be had; 0 passes it over.
// A kept connection keeps its verdict by whichever rule would need them: an
// allow rule that was passed over would cut what it had allowed.
func (w *walk) lostAnswer(r *Rule, cause Cause) (Action, Reason) {
	if cause == NotSeen && w.facts.Kept && w.policy.OnError.Keep {
		return Allow, ReasonKept
	}
	if r.Action == Allow {
		return 0, ReasonNone
	}
	return w.policy.OnError.For(cause), reasonOf(cause)
}

// wait notes what an undecided rule may still answer. The walk ends at the rule
// if two actions are possible by now, since no rule below can change that, or if
// the rule will answer in any case.
func (w *walk) wait(r *Rule, index int, t truth) bool {
	answers, passes := actions(0), t.can&isFalse != 0
	if t.can&isTrue != 0 {
		answers |= one(r.Action)
	}
	for cause := Malformed; cause <= NotSeen; cause++ {
		if t.causes&(1<<cause) == 0 {
			continue
		}
		if a, _ := w.lostAnswer(r, cause); a != 0 {
			answers |= one(a)
		} else {
			passes = true
		}
	}
	if answers == 0 {
		// An allow rule that can no longer become true: nothing of it is wanted.
		return false
	}
	if w.answer.Wanted == 0 {
		w.answer.Wanted = t.wants
	}
	w.undecided |= answers
	switch {
	case w.undecided == one(Allow)|one(Block):
		w.answer = Decision{Index: -1, Reason: ReasonPending, Wanted: w.answer.Wanted}
		return true
	case !passes:
		action := Block
		if w.undecided == one(Allow) {
			action = Allow
		}
		w.end(action, r, index, ReasonRule)
		return true
	}
	return false
}

// end is the last word: that of the first rule to decide, or of the default. It
// holds if no rule before it may say otherwise.
func (w *walk) end(action Action, r *Rule, index int, reason Reason) {
	wanted := w.answer.Wanted
	if w.undecided&^one(action) != 0 {
		w.answer = Decision{Index: -1, Reason: ReasonPending, Wanted: wanted}
		return
	}
	w.answer = Decision{Action: action, Rule: r, Index: index, Reason: reason, Early: w.undecided != 0, Wanted: wanted}
}
