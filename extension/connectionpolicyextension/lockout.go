package connectionpolicyextension

import (
	"errors"
	"fmt"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// errLockOut marks the refusal of a policy that would cut off everybody.
var errLockOut = errors.New("the policy would lock everybody out: in mode prevent it blocks what no rule allows, and no rule allows anything")

// locksOut tells whether a policy lets nothing through but what the safeguards
// let through. An administrator who works over the network would have no way back.
func locksOut(p *policy.Policy, now time.Time) bool {
	if p.Mode != policy.Prevent || p.DefaultAction != policy.Block {
		return false
	}
	for _, rule := range p.Without(now).Rules {
		if rule.Action == policy.Allow && !rule.Shadow {
			return false
		}
	}
	return true
}

// checkLockOut refuses a policy that locks everybody out, unless it comes back
// by itself because somebody has to confirm it, or was confirmed beforehand.
func (e *policyExtension) checkLockOut(p *policy.Policy, returns bool) error {
	first := e.current.Policy == nil
	if returns && !first || !locksOut(p, e.now()) || e.confirm.beforehand(e.cfg.File) {
		return nil
	}
	ways := "add an allow rule or set default_action: allow"
	if !first {
		ways += "; or set confirm_within, so that the policy before it returns by itself"
	}
	if e.cfg.File != "" {
		ways += fmt.Sprintf("; or, if this is meant, touch %s after writing the policy", e.cfg.confirmFile())
	}
	return fmt.Errorf("%w: %s", errLockOut, ways)
}
