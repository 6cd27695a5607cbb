package policy

// Outcome is what became of a rule, or of one of its criteria, on some facts.
type Outcome uint8

// The outcomes.
const (
	// Matches: all that was asked for is there.
	Matches Outcome = iota + 1
	// Differs: a known fact is another one, or cannot exist here.
	Differs
	// Waits: a fact that decides is unknown.
	Waits
	// Lacks: a fact that decides is unobtainable.
	Lacks
)

// String is a clause that says so of a rule.
func (o Outcome) String() string {
	switch o {
	case Matches:
		return "matches"
	case Differs:
		return "passed over"
	case Waits:
		return "undecided"
	case Lacks:
		return "cannot be judged"
	}
	return ""
}

// outcomeOf sums up a truth.
func outcomeOf(t truth) Outcome {
	switch {
	case t.can == isTrue:
		return Matches
	case t.can == isFalse:
		return Differs
	case t.can == isLost && t.causes.only() != 0:
		return Lacks
	}
	return Waits
}

// Explanation is a walk rule by rule.
type Explanation struct {
	Decision Decision
	// Steps are the rules that were tried, in their order, shadow rules included;
	// none where the policy claims nothing.
	Steps []Step
}

// Step is what became of one rule.
type Step struct {
	Rule *Rule
	// Index is the rule's place in Walked.
	Index   int
	Outcome Outcome
	// Ends: the walk ended at this rule.
	Ends bool
	// Criteria are those of the rule, each judged by itself. Those of http, tls, dns
	// and ssh are alternatives; all others must hold.
	Criteria []Criterion
}

// Criterion is one criterion of a rule, judged by itself.
type Criterion struct {
	// Key is its key in the rule, such as layer3.source.
	Key     string
	Outcome Outcome
	// Found is what the connection has there; empty where it is not known.
	Found string
	// Wanted are the facts that Waits is for.
	Wanted FactSet
	// Cause is set where Outcome is Lacks.
	Cause Cause
}

// Why are the criteria that made the rule come out as it did: of a rule that
// matches none, since all did.
func (s *Step) Why() []Criterion {
	if s.Outcome == Matches {
		return nil
	}
	var why []Criterion
	for _, c := range s.Criteria {
		if c.Outcome == s.Outcome {
			why = append(why, c)
		}
	}
	return why
}

// Explain is Walk, told rule by rule. It takes longer: it is for people who ask.
func (p *Policy) Explain(f *Facts) Explanation {
	e := Explanation{Decision: p.Walk(f)}
	if p.Empty() {
		return e
	}
	w := walk{policy: p, facts: f, answer: Decision{Index: -1}}
	w.tell = func(r *Rule, index int, ends bool) {
		e.Steps = append(e.Steps, Step{
			Rule: r, Index: index, Outcome: outcomeOf(r.match(f)), Ends: ends, Criteria: r.criteria(f),
		})
	}
	w.run()
	return e
}
