package engine

import (
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/policy"
)

// checkCapabilities refuses to enforce what this build cannot see, and warns of what
// it often cannot. In detect mode such rules leave the walk undecided, and nothing is
// claimed of the connections they are about.
func (e *Engine) checkCapabilities(p *policy.Policy) error {
	unseen := rulesWhere(p, func(r *policy.Rule) bool {
		return r.Layer7 != nil && r.Layer7.SSH != nil && len(r.Layer7.SSH.PublicKeys) > 0
	})
	if len(unseen) > 0 {
		if p.Mode == policy.Prevent {
			return fmt.Errorf("this build of Weir cannot enforce %s: the key that an SSH client logs in with goes encrypted, and rule %s asks for it with ssh.public_keys; accepted of ssh is software (in detect mode such rules are read, and their connections stay undecided)",
				plural(len(unseen), "a rule", "rules"), strings.Join(unseen, ", "))
		}
		e.log.Warn("Some rules ask for the key that an SSH client logs in with, which this build does not learn; connections that depend on it stay undecided.",
			zap.Strings("rules", unseen))
	}
	if hidden := rulesWhere(p, func(r *policy.Rule) bool {
		return r.Layer7 != nil && r.Layer7.TLS != nil && r.Layer7.TLS.Certificate != nil
	}); len(hidden) > 0 && p.Mode == policy.Prevent {
		e.log.Warn("Some rules ask for a server's certificate, which TLS 1.3 encrypts: for such connections on_error answers, by not_seen.",
			zap.Strings("rules", hidden))
	}
	return nil
}

// rulesWhere are the names of the rules of which something is true: the first of them,
// and how many more there are.
func rulesWhere(p *policy.Policy, is func(*policy.Rule) bool) []string {
	const most = 5
	var names []string
	for i := range p.Rules {
		if is(&p.Rules[i]) {
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
