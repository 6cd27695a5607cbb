package engine

import (
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/classifier"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// Apply puts a policy in force by one atomic switch; nil is detect mode without
// rules. What was in force stays when it is refused.
func (e *Engine) Apply(generation uint64, p *policy.Policy) error {
	e.apply.Lock()
	defer e.apply.Unlock()
	if p == nil {
		p = policy.Observe()
	}
	if err := e.checkCapabilities(p); err != nil {
		return err
	}
	e.warnOfCuts(p)
	if err := e.install(generation, p, time.Now()); err != nil {
		return err
	}
	return nil
}

// install compiles p as it stands at now and swaps it in.
func (e *Engine) install(generation uint64, p *policy.Policy, now time.Time) error {
	tables, err := classifier.Compile(p, now)
	if err != nil {
		return fmt.Errorf("compile the policy: %w", err)
	}
	v := &version{generation: generation, policy: p, rules: tables.Rules}
	e.saveMatches()
	if v.tables, err = e.data.Swap(tables, generation); err != nil {
		return err
	}
	e.versions.add(v)
	if pin := e.pins(p); pin != e.pinned || !e.chosen {
		if err := e.data.SetKeep(pin); err != nil {
			return fmt.Errorf("pin the datapath, so that prevent mode outlives the process: %w", err)
		}
		e.pinned, e.chosen = pin, true
	}
	e.scheduleExpiry(v, now)
	return nil
}

// saveMatches saves the counters in the slot that the next tables overwrite.
func (e *Engine) saveMatches() {
	old := e.versions.previous
	if old == nil {
		return
	}
	counts, err := e.matchesByName(old)
	if err == nil {
		err = e.data.AddRuleTotals(counts)
	}
	if err != nil {
		e.log.Warn("The matches of rules of an earlier policy are lost.", zap.Error(err))
	}
}

// scheduleExpiry installs the policy anew when its next rule expires.
func (e *Engine) scheduleExpiry(v *version, now time.Time) {
	if e.expiry != nil {
		e.expiry.Stop()
		e.expiry = nil
	}
	next := v.policy.NextExpiry(now)
	if next.IsZero() {
		return
	}
	e.expiry = time.AfterFunc(next.Sub(now), func() { e.expire(v, next) })
}

func (e *Engine) expire(v *version, at time.Time) {
	e.apply.Lock()
	defer e.apply.Unlock()
	select {
	case <-e.stop:
		return
	default:
	}
	if e.versions.latest() != v {
		return // replaced meanwhile
	}
	if now := time.Now(); now.After(at) {
		at = now
	}
	if err := e.install(v.generation, v.policy, at); err != nil {
		e.log.Error("Rules that expired could not be taken out of force; they are tried again.", zap.Error(err))
		e.expiry = time.AfterFunc(time.Second, func() { e.expire(v, at) })
		return
	}
	e.config.OnChange(telemetry.PolicyChange{
		Time: at, Change: telemetry.PolicyExpired, Generation: v.generation,
		Detail: "expired: " + strings.Join(expiredRules(v.policy, at), ", "),
	})
}

func expiredRules(p *policy.Policy, at time.Time) []string {
	var names []string
	for i := range p.Rules {
		if r := &p.Rules[i]; !r.Expires.IsZero() && !at.Before(r.Expires) {
			names = append(names, r.Name)
		}
	}
	return names
}
