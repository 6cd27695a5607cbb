package policy

import (
	"slices"
	"time"
)

// Policy is a whole policy with its groups resolved. It is not changed after it
// was read, so it may be shared.
type Policy struct {
	Mode Mode
	// DefaultAction is prevent's answer where no rule matches. Where the text
	// leaves it out it is Block if the text has rules and Allow if it has none.
	DefaultAction Action
	OnError       OnError
	Reject        RejectMode
	// NonIP is the answer to ethertypes other than IP and ARP.
	NonIP      Action
	Safeguards Safeguards
	// Rules are the user's rules in their order.
	Rules []Rule
}

// Observe is the policy in force where none is given: it watches and claims
// nothing.
func Observe() *Policy {
	return &Policy{Mode: Detect, DefaultAction: Allow, OnError: DefaultOnError(), NonIP: Allow, Safeguards: DefaultSafeguards()}
}

// Empty says whether the policy claims nothing: it has no rules, and the
// default lets everything pass. Connections then carry no action at all.
func (p *Policy) Empty() bool {
	return len(p.Rules) == 0 && p.defaultAction() == Allow
}

// defaultAction fills in for a policy that was not made by Load.
func (p *Policy) defaultAction() Action {
	switch {
	case p.DefaultAction != 0:
		return p.DefaultAction
	case len(p.Rules) == 0:
		return Allow
	}
	return Block
}

// Walked are the rules in the order of the walk: the safeguards that are
// switched on, then Rules. An index in a Decision is one into this slice.
func (p *Policy) Walked() []Rule {
	return append(p.Safeguards.rules(), p.Rules...)
}

// NextExpiry is when the next rule expires after now; zero if none will.
func (p *Policy) NextExpiry(now time.Time) time.Time {
	var next time.Time
	for i := range p.Rules {
		e := p.Rules[i].Expires
		if e.After(now) && (next.IsZero() || e.Before(next)) {
			next = e
		}
	}
	return next
}

// Without is the policy as it is in force at now: rules that have expired by
// then are left out. The default action stays, even when no rule is left: a
// policy must not open up because its last rule ran out.
func (p *Policy) Without(now time.Time) *Policy {
	if !slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.expired(now) }) {
		return p
	}
	left := *p
	left.DefaultAction = p.defaultAction()
	left.Rules = slices.DeleteFunc(slices.Clone(p.Rules), func(r Rule) bool { return r.expired(now) })
	return &left
}

// WithFirst is the policy with these rules before its own. The default action stays
// what it was.
func (p *Policy) WithFirst(rules []Rule) *Policy {
	if len(rules) == 0 {
		return p
	}
	all := *p
	all.DefaultAction = p.defaultAction()
	all.Rules = slices.Concat(rules, p.Rules)
	return &all
}

// WithShadows is the policy whose shadow rules are ordinary ones; nil where it has
// none.
func (p *Policy) WithShadows() *Policy {
	if !slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Shadow }) {
		return nil
	}
	all := *p
	all.Rules = slices.Clone(p.Rules)
	for i := range all.Rules {
		all.Rules[i].Shadow = false
	}
	return &all
}

// expired says whether the rule has run out at now; it is in force up to, and
// not at, its time.
func (r *Rule) expired(now time.Time) bool {
	return !r.Expires.IsZero() && !now.Before(r.Expires)
}

// OnError holds the answers to block rules whose facts cannot be had; an unset
// action counts as Block.
type OnError struct {
	Malformed, Limit, Overload, AgentDown Action
	// NotSeen is for connections that Keep does not cover.
	NotSeen Action
	// Keep: where facts were not seen, a connection that was already allowed, or
	// was open when Weir first attached, keeps its verdict.
	Keep bool
}

// DefaultOnError blocks, but keeps what was there before.
func DefaultOnError() OnError { return onErrorOf(Block) }

// onErrorOf is the short form: one action for every cause.
func onErrorOf(a Action) OnError {
	return OnError{Malformed: a, Limit: a, Overload: a, AgentDown: a, NotSeen: a, Keep: true}
}

// For is the answer to a cause.
func (o OnError) For(c Cause) Action {
	a := Block
	switch c {
	case Malformed:
		a = o.Malformed
	case Limit:
		a = o.Limit
	case Overload:
		a = o.Overload
	case AgentDown:
		a = o.AgentDown
	case NotSeen:
		a = o.NotSeen
	}
	if a == 0 {
		return Block
	}
	return a
}
