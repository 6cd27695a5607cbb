package engine

import (
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/policy"
)

// checkCapabilities refuses to enforce what this build cannot see. In detect
// mode such rules leave the walk undecided, and nothing is claimed of the
// connections they are about.
func (e *Engine) checkCapabilities(p *policy.Policy) error {
	needed := p.Capabilities()
	if len(needed) == 0 {
		return nil
	}
	rules := rulesWithFacts(p)
	if p.Mode == policy.Prevent {
		return fmt.Errorf("this build of Weir cannot enforce %s: the capability %s is not in it, and rule %s needs it; accepted in prevent mode are layer3 and layer4 criteria (in detect mode such rules are read, and their connections stay undecided)",
			plural(len(rules), "a rule", "rules"), strings.Join(needed, ", "), strings.Join(rules, ", "))
	}
	e.log.Warn("Some rules need capabilities that this build does not have; connections that depend on them stay undecided.",
		zap.Strings("capabilities", needed), zap.Strings("rules", rules))
	return nil
}

func rulesWithFacts(p *policy.Policy) []string {
	const most = 5
	var names []string
	for i := range p.Rules {
		if p.Rules[i].NeedsFacts() {
			names = append(names, p.Rules[i].Name)
		}
	}
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("and %d more", more))
	}
	return names
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
