package engine

import (
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// Apply puts a policy in force from the next frame on; nil is detect mode without
// rules. Rules expire in the capture's time. Whoever hands it out brings about a
// return.
func (r *Replay) Apply(generation uint64, p *policy.Policy, _ *Return) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p == nil {
		p = policy.Observe()
	}
	r.warnOf(p)
	watching := *p
	watching.Mode = policy.Detect
	r.install(generation, &watching, r.now)
	return nil
}

// warnOf names the rules that a replay cannot decide.
func (r *Replay) warnOf(p *policy.Policy) {
	var directed []string
	for i := range p.Rules {
		if len(r.config.Host) == 0 && p.Rules[i].Direction&policy.Forwarded == 0 {
			directed = append(directed, p.Rules[i].Name)
		}
	}
	if len(directed) > 0 {
		r.log.Warn("Some rules are for connections of the host that recorded; without its addresses all connections are forwarded, so that they match none.",
			zap.Strings("rules", directed))
	}
}

// install swaps p in as it stands at now.
func (r *Replay) install(generation uint64, p *policy.Policy, now time.Time) {
	if old := r.versions.latest(); old != nil {
		r.addMatches(r.matches, old)
	}
	v := &version{generation: generation, policy: p}
	at := p.Without(now)
	if !at.Empty() {
		for _, rule := range at.Walked() {
			v.rules = append(v.rules, rule.Name)
		}
	}
	v.rejects = rejectsOf(at)
	v.tables, _ = r.tracker.Swap(at)
	r.versions.add(v)
	r.expiry = p.NextExpiry(now)
	r.inspect.SetPolicy(inspector.Version{Tables: v.tables, Generation: generation, Policy: at, Rules: v.rules}, now)
	r.inspects = r.inspect.Needed()
	r.settle()
}

func (r *Replay) expire(at time.Time) {
	v := r.versions.latest()
	r.install(v.generation, v.policy, at)
	r.config.OnChange(telemetry.PolicyChange{
		Time: at, Change: telemetry.PolicyExpired, Generation: v.generation,
		Detail: "expired: " + strings.Join(expiredRules(v.policy, at), ", "),
	})
}

// addMatches adds the matches of the rules of v, which is in force.
func (r *Replay) addMatches(to map[string]uint64, v *version) {
	for i, n := range r.tracker.Matches() {
		if name := v.ruleName(uint32(i)); name != "" && n > 0 {
			to[name] += n
		}
	}
}

// recordOf names what the tracker knows by number; its enumerations are those of
// telemetry.
func (r *Replay) recordOf(e *flow.Event, observed time.Time) telemetry.Connection {
	v := r.versions.find(e.Tables)
	record := telemetry.Connection{
		Kind:      telemetry.Kind(e.Kind),
		Time:      time.Unix(0, e.Time).UTC(),
		Observed:  observed,
		ID:        e.ID,
		Tuple:     e.Tuple,
		Direction: e.Direction,
		Protocol:  protocolName(e.Application),
		Judgement: telemetry.Judgement{
			Rule:    v.ruleName(e.Rule),
			Verdict: telemetry.Verdict(e.Verdict),
			Action:  telemetry.Action(e.Action),
			Prevent: e.Prevent,
			Reason:  telemetry.Reason(e.Reason),
		},
		FirstSeen:   time.Unix(0, e.First).UTC(),
		LastSeen:    time.Unix(0, e.Last).UTC(),
		End:         telemetry.EndReason(e.End),
		Source:      telemetry.Counts(e.Sent[0]),
		Destination: telemetry.Counts(e.Sent[1]),
		Count:       1,
	}
	if v != nil {
		record.Judgement.Generation = v.generation
	}
	if e.ShadowRule != flow.NoRule {
		record.Judgement.ShadowRule = v.ruleName(e.ShadowRule)
		record.Judgement.ShadowAction = telemetry.Action(e.ShadowAction)
	}
	return record
}

// Totals takes a snapshot of the counters, which run from NewReplay.
func (r *Replay) Totals() (telemetry.Totals, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := telemetry.Totals{Since: r.since, Active: r.tracker.Active()}
	for _, v := range r.tracker.Verdicts() {
		t.Verdicts = append(t.Verdicts, telemetry.VerdictTotal{
			Verdict: telemetry.Verdict(v.Verdict), Action: telemetry.Action(v.Action),
			Reason: telemetry.Reason(v.Reason), Protocol: v.Protocol, Direction: v.Direction, Count: v.Count,
		})
	}
	for _, c := range r.tracker.Traffic() {
		t.Traffic = append(t.Traffic, telemetry.TrafficTotal{
			FromSource: c.FromSource, Verdict: telemetry.Verdict(c.Verdict), Protocol: c.Protocol,
			Direction: c.Direction, Counts: telemetry.Counts(c.Counts),
		})
	}
	counts := make(map[string]uint64, len(r.matches))
	for name, n := range r.matches {
		counts[name] = n
	}
	if v := r.versions.latest(); v != nil {
		for _, name := range v.rules {
			counts[name] += 0 // a rule without matches has its series
		}
		r.addMatches(counts, v)
	}
	for name, n := range counts {
		t.Rules = append(t.Rules, telemetry.RuleTotal{Rule: name, Count: n})
	}
	slices.SortFunc(t.Rules, func(a, b telemetry.RuleTotal) int { return strings.Compare(a.Rule, b.Rule) })
	return t, nil
}

// Stats takes a snapshot of the replay's own state.
func (r *Replay) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{
		Lost: map[string]uint64{}, Packets: map[string]uint64{},
		FlowEntries: r.tracker.Entries(), FlowCapacity: uint64(r.config.MaxEntries),
		Inspect: inspectStats(r.inspect),
	}
	if v := r.versions.latest(); v != nil {
		s.Generation, s.Rules = v.generation, len(v.rules)
	}
	r.tracker.Counters(func(c flow.Counter, n uint64) {
		if slices.Contains(lostCauses, c.String()) {
			s.Lost[c.String()] = n
		} else {
			s.Packets[c.String()] = n
		}
	})
	return s
}
