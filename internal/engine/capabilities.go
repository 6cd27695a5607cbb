package engine

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/policy"
)

// warnOfHidden tells of rules about certificates that nobody will get to see.
func (e *Engine) warnOfHidden(p *policy.Policy) {
	if p.Mode != policy.Prevent {
		return
	}
	probes := e.config.Inspect.CertificateProbe
	hidden := rulesWhere(p, func(r *policy.Rule) bool {
		return r.Layer7 != nil && r.Layer7.TLS != nil && r.Layer7.TLS.Certificate != nil &&
			!(probes && p.Safeguards.Export && r.Direction == policy.Outbound)
	})
	if len(hidden) == 0 {
		return
	}
	why := "Some rules ask for a server's certificate, which TLS 1.3 encrypts: for such connections on_error answers, by not_seen."
	switch {
	case probes && !p.Safeguards.Export:
		why += " Servers are not asked for it, since without the safeguard export such probes are judged as any connection."
	case probes:
		why += " Only of outbound connections are servers asked for it: a rule of direction: outbound is about no others."
	}
	e.log.Warn(why, zap.Strings("rules", hidden))
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
