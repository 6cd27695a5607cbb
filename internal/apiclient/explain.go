package apiclient

import (
	"strings"

	"github.com/weirnet/weir/internal/policy"
)

var outcomeWords = map[policy.Outcome]string{
	policy.Matches: "matches", policy.Differs: "differs", policy.Waits: "unknown", policy.Lacks: "unobtainable",
}

// ExplanationOf is a walk of p in the words of the API.
func ExplanationOf(p *policy.Policy, e *policy.Explanation) Explanation {
	d := &e.Decision
	told := Explanation{
		Verdict: "inspect", Mode: p.Mode.String(), Reason: d.Reason.String(), Early: d.Early,
		Wanted: factNames(d.Wanted), Steps: []WalkedRule{},
	}
	if d.Action != 0 {
		told.Verdict = d.Action.String()
	}
	if d.Rule != nil {
		told.Rule = d.Rule.Name
	}
	if d.ShadowAction != 0 {
		told.Shadow = &ShadowWalk{Action: d.ShadowAction.String()}
		if d.ShadowRule != nil {
			told.Shadow.Rule = d.ShadowRule.Name
		}
	}
	for _, s := range e.Steps {
		one := WalkedRule{
			Rule: s.Rule.Name, Action: s.Rule.Action.String(), Shadow: s.Rule.Shadow, Line: s.Rule.Line,
			Outcome: outcomeWords[s.Outcome], Ends: s.Ends,
		}
		for _, c := range s.Criteria {
			k := Criterion{Key: c.Key, Outcome: outcomeWords[c.Outcome], Found: c.Found, Wanted: factNames(c.Wanted)}
			if c.Outcome == policy.Lacks {
				k.Cause = c.Cause.String()
			}
			one.Criteria = append(one.Criteria, k)
		}
		told.Steps = append(told.Steps, one)
	}
	return told
}

func factNames(s policy.FactSet) []string {
	if s == 0 {
		return nil
	}
	return strings.Split(s.String(), ",")
}
