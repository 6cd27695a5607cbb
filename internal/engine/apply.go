package engine

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/classifier"
	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// Return says that a policy is to be replaced by an earlier one unless it is
// confirmed: the kernel does it by itself.
type Return struct {
	// Generation is the earlier one, which must have been in force right before,
	// or be that to which the one before was to return.
	Generation uint64
	Within     time.Duration
}

// Apply puts a policy in force by one atomic switch; nil is detect mode without
// rules. What was in force stays when it is refused. The policy that is in force,
// applied again without a Return, is confirmed.
func (e *Engine) Apply(generation uint64, p *policy.Policy, back *Return) error {
	e.apply.Lock()
	defer e.apply.Unlock()
	if p == nil {
		p = policy.Observe()
	}
	if v := e.versions.latest(); v != nil && v.policy == p && v.generation == generation && back == nil {
		return e.data.Stay()
	}
	e.warnOfHidden(p)
	e.warnOfCuts(p)
	return e.install(generation, p, e.tablesOf(back), time.Now())
}

// tablesOf finds the tables to return to.
func (e *Engine) tablesOf(back *Return) *datapath.Return {
	if back == nil {
		return nil
	}
	for _, v := range e.held() {
		if v.generation == back.Generation {
			return &datapath.Return{Tables: v.tables, Within: back.Within}
		}
	}
	e.log.Warn("The kernel does not have the policy any more that an unconfirmed one is to return to. It returns only if this process is there to do it.",
		zap.Uint64("generation", back.Generation), zap.Duration("within", back.Within))
	return nil
}

// held are the versions whose tables, and counters, the kernel has, the latest
// first.
func (e *Engine) held() []*version {
	return slices.DeleteFunc(e.versions.all(), func(v *version) bool { return !e.data.Held(v.tables) })
}

// install compiles p as it stands at now and swaps it in.
func (e *Engine) install(generation uint64, p *policy.Policy, back *datapath.Return, now time.Time) error {
	tables, err := classifier.Compile(p, now)
	if err != nil {
		return fmt.Errorf("compile the policy: %w", err)
	}
	v := &version{generation: generation, policy: p, rules: tables.Rules, rejects: rejectsOf(p), byName: needs(p)["names"], back: back}
	if err := e.beginLogins(p); err != nil {
		return err
	}
	if err := e.beginHold(p); err != nil {
		return err
	}
	e.saveMatches(e.data.Victim(back))
	if err := e.swap(v, tables, now); err != nil {
		return err
	}
	if err := errors.Join(e.endHold(p), e.endLogins(p)); err != nil {
		return err
	}
	if pin := e.pins(p); pin != e.pinned || !e.chosen {
		if err := e.data.SetKeep(pin); err != nil {
			return fmt.Errorf("pin the datapath, so that prevent mode outlives the process: %w", err)
		}
		e.pinned, e.chosen = pin, true
	}
	e.scheduleExpiry(v, now)
	if len(v.rules) >= largePolicy {
		time.AfterFunc(time.Second, debug.FreeOSMemory)
	}
	return nil
}

// swap puts a version in force: in the kernel, and then here. What is held in between waits.
func (e *Engine) swap(v *version, tables *classifier.Tables, now time.Time) error {
	var looks error
	_, err := e.data.Swap(tables, v.generation, v.back, &datapath.SwapMoments{
		Before: func(tables uint32) {
			e.versions.announce(v, tables)
			if e.holding.on {
				e.looks.await(true)
			}
		},
		After: func(uint32) {
			v.since = time.Now()
			e.versions.add(v)
			looks = e.lookFor(v, now)
		},
	})
	if v.since.IsZero() {
		e.versions.withdraw(v)
	}
	e.looks.await(false) // it waits no more, unless that has failed
	return errors.Join(err, looks)
}

// largePolicy is from how many rules on what reading and compiling took is given
// back to the system at once. The runtime would keep most of it for minutes: at
// 100,000 rules three times what the policy itself takes.
const largePolicy = 10_000

// saveMatches saves the counters of tables that give way to the next ones.
func (e *Engine) saveMatches(tables uint32) {
	old := e.versions.find(tables)
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
	if err := e.install(v.generation, v.policy, v.backLater(), at); err != nil {
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
