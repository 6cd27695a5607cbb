package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/policy"
)

// explanation is what --json prints.
type explanation struct {
	// Verdict is allow, block or inspect.
	Verdict string   `json:"verdict"`
	Mode    string   `json:"mode"`
	Rule    string   `json:"rule,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	Early   bool     `json:"early,omitempty"`
	Wanted  []string `json:"wanted,omitempty"`
	Shadow  *shadow  `json:"shadow,omitempty"`
	Steps   []step   `json:"steps"`
}

type shadow struct {
	Rule   string `json:"rule,omitempty"`
	Action string `json:"action"`
}

type step struct {
	Rule     string      `json:"rule"`
	Action   string      `json:"action"`
	Shadow   bool        `json:"shadow,omitempty"`
	Line     int         `json:"line,omitempty"`
	Outcome  string      `json:"outcome"`
	Ends     bool        `json:"ends,omitempty"`
	Criteria []criterion `json:"criteria,omitempty"`
}

type criterion struct {
	Key     string   `json:"key"`
	Outcome string   `json:"outcome"`
	Found   string   `json:"found,omitempty"`
	Wanted  []string `json:"wanted,omitempty"`
	Cause   string   `json:"cause,omitempty"`
}

// outcomeWords are for programs.
var outcomeWords = map[policy.Outcome]string{
	policy.Matches: "matches", policy.Differs: "differs", policy.Waits: "unknown", policy.Lacks: "unobtainable",
}

func factNames(s policy.FactSet) []string {
	if s == 0 {
		return nil
	}
	return strings.Split(s.String(), ",")
}

func verdictWord(d *policy.Decision) string {
	if d.Action == 0 {
		return "inspect"
	}
	return d.Action.String()
}

func explanationOf(p *policy.Policy, e *policy.Explanation) explanation {
	d := &e.Decision
	told := explanation{
		Verdict: verdictWord(d), Mode: p.Mode.String(), Reason: d.Reason.String(), Early: d.Early,
		Wanted: factNames(d.Wanted), Steps: []step{},
	}
	if d.Rule != nil {
		told.Rule = d.Rule.Name
	}
	if d.ShadowAction != 0 {
		told.Shadow = &shadow{Action: d.ShadowAction.String()}
		if d.ShadowRule != nil {
			told.Shadow.Rule = d.ShadowRule.Name
		}
	}
	for _, s := range e.Steps {
		one := step{
			Rule: s.Rule.Name, Action: s.Rule.Action.String(), Shadow: s.Rule.Shadow, Line: s.Rule.Line,
			Outcome: outcomeWords[s.Outcome], Ends: s.Ends,
		}
		for _, c := range s.Criteria {
			k := criterion{Key: c.Key, Outcome: outcomeWords[c.Outcome], Found: c.Found, Wanted: factNames(c.Wanted)}
			if c.Outcome == policy.Lacks {
				k.Cause = c.Cause.String()
			}
			one.Criteria = append(one.Criteria, k)
		}
		told.Steps = append(told.Steps, one)
	}
	return told
}

// printExplanation is for people: a line for each rule, and the verdict.
func printExplanation(c *cobra.Command, p *policy.Policy, e *policy.Explanation, every bool) {
	width, safeguards := 0, 0
	for _, s := range e.Steps {
		if hides(&s, every) {
			safeguards++
			continue
		}
		width = max(width, len(s.Rule.Name))
	}
	if safeguards > 0 {
		printLine(c, "%s passed over (--all tells why)", count(safeguards, "safeguard"))
	}
	for _, s := range e.Steps {
		if hides(&s, every) {
			continue
		}
		where := ""
		if s.Rule.Line > 0 {
			where = fmt.Sprintf("  line %d", s.Rule.Line)
		}
		shadowed := ""
		if s.Rule.Shadow {
			shadowed = " (shadow)"
		}
		printLine(c, "%-*s  %-5s  %s%s%s%s", width, s.Rule.Name, s.Rule.Action, s.Outcome, shadowed, why(&s), where)
	}
	printLine(c, "%s", verdictLine(p, &e.Decision))
	if d := &e.Decision; d.ShadowAction != 0 {
		by := "the default"
		if d.ShadowRule != nil {
			by = "the rule " + d.ShadowRule.Name
		}
		printLine(c, "with shadow rules: %s by %s", d.ShadowAction, by)
	}
}

// hides: safeguards that differ are of little interest.
func hides(s *policy.Step, every bool) bool {
	return !every && s.Rule.Safeguard() && s.Outcome == policy.Differs
}

// why are the reasons in a line.
func why(s *policy.Step) string {
	var wanted policy.FactSet
	var parts []string
	all := s.Why()
	for i, c := range all {
		wanted |= c.Wanted
		switch {
		case c.Outcome == policy.Waits:
		case i+1 < len(all) && strings.HasPrefix(all[i+1].Key, c.Key+"."):
			// The next one says it more exactly.
		case c.Outcome == policy.Lacks:
			parts = append(parts, c.Key+" ("+c.Cause.String()+")")
		default:
			parts = append(parts, c.Key+" ("+clean(c.Found)+")")
		}
	}
	if wanted != 0 {
		parts = append(parts, "waits for "+strings.Join(factNames(wanted), ", "))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, "; ")
}

func verdictLine(p *policy.Policy, d *policy.Decision) string {
	enforced := ""
	if p.Mode == policy.Detect {
		enforced = " (mode detect: nothing is enforced)"
	}
	switch {
	case d.Action == 0:
		return "→ inspect: the answer depends on " + strings.Join(factNames(d.Wanted), ", ")
	case d.Reason == policy.ReasonNone:
		return "→ allow: the policy claims nothing"
	case d.Rule == nil:
		return "→ " + d.Action.String() + " by default_action" + early(d) + enforced
	case d.Reason == policy.ReasonRule || d.Reason == policy.ReasonSafeguard:
		return "→ " + d.Action.String() + " by the rule " + d.Rule.Name + early(d) + enforced
	}
	return "→ " + d.Action.String() + " by " + d.Reason.String() + " at the rule " + d.Rule.Name + early(d) + enforced
}

func early(d *policy.Decision) string {
	if d.Early {
		return ", whatever " + strings.Join(factNames(d.Wanted), ", ") + " will be"
	}
	return ""
}
