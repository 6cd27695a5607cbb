package inspector

import (
	"slices"
	"time"

	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// Version is a policy in force.
type Version struct {
	// Tables is the number by which the flow table knows it.
	Tables     uint32
	Generation uint64
	// Policy is as it stands, without rules that have expired.
	Policy *policy.Policy
	// Rules are the names of the walked rules.
	Rules []string
}

// version is a policy with what is asked of it at every judgement.
type version struct {
	Version
	index   *policy.Index
	shadows []bool // of the walked rules, which are shadow rules
	// promoted has the shadow rules as ordinary ones; nil without any.
	promoted *policy.Index
	aging    bool // it has duration rules
	learns   bool // it asks for names that DNS answered
	// certificates: it asks for those.
	certificates bool
	logins       loginRules
}

// noRule is where no rule decided.
const noRule = ^uint32(0)

// verdict is what the policy says of facts.
type verdict struct {
	tables           uint32
	rule, shadowRule uint32
	// matched is the shadow rule that decides among all rules, also where it agrees.
	matched              uint32
	action, shadowAction policy.Action
	reason               policy.Reason
	wanted, shadowWanted policy.FactSet
}

// waits says whether facts are to come that may make a difference.
func (v *verdict) waits() bool { return v.action == 0 && v.wanted != 0 || v.shadowWanted != 0 }

// wantsLogin says whether a login is to come that may make a difference.
func (v *verdict) wantsLogin() bool {
	return v.waits() && (v.wanted|v.shadowWanted)&policy.WantSSHPublicKey != 0
}

// SetPolicy puts a policy in force. Connections are judged again with what is known
// of them.
func (i *Inspector) SetPolicy(v Version, now time.Time) {
	i.now = now
	n := &version{Version: v, index: policy.NewIndex(v.Policy)}
	if p := v.Policy.WithShadows(); p != nil {
		n.promoted = policy.NewIndex(p)
	}
	walked := v.Policy.Walked()
	for k := range walked {
		n.shadows = append(n.shadows, walked[k].Shadow)
		for _, t := range walked[k].Transports {
			n.aging = n.aging || t.Over > 0
		}
	}
	n.certificates = slices.Contains(v.Policy.Capabilities(), "certificates")
	n.logins = loginRulesOf(v.Policy)
	n.learns = slices.Contains(v.Policy.Capabilities(), "names") && i.config.Names != nil
	old := i.version
	i.version = n
	i.setHeaders(old)
	for c := i.oldest; c != nil; c = c.newer {
		i.judgeAgain(c)
	}
}

// Needed says whether there is anything to look for: in records, or in rules.
func (i *Inspector) Needed() bool {
	r := &i.config.Report
	return r.HTTP || r.TLS || r.DNS || r.SSH || i.version.Policy.NeedsFacts()
}

// judgeAgain judges a connection by another policy, or at another age.
func (i *Inspector) judgeAgain(c *conn) {
	// What was allowed before is kept, where facts are missing now; so is what came
	// when there were no rules.
	switch j := &c.judged; {
	case j.action == policy.Block:
		c.facts.Kept = false
	case j.action == policy.Allow || j.wanted == 0:
		c.facts.Kept = true
	}
	if c.phase == done {
		c.lose(policy.NotSeen)
	}
	// The flow table does so by itself, from the packet alone.
	packet := c.facts
	packet.Application = policy.Fact[policy.Application]{}
	packet.HTTP, packet.TLS, packet.DNS, packet.SSH = policy.HTTPFacts{}, policy.TLSFacts{}, policy.DNSFacts{}, policy.SSHFacts{}
	c.judged = i.walk(c, &packet)
	c.told = c.judged
	if i.version.learns {
		c.told = verdict{} // but it does not know the names, and keeps what it had
	}
	i.judge(c)
	if c.cut && i.version.Policy.Mode == policy.Prevent && c.judged.action != policy.Block {
		c.judged = verdict{
			tables: i.version.Tables, rule: noRule, shadowRule: noRule, matched: noRule,
			action: policy.Block, reason: policy.ReasonKept,
		}
	}
	i.settle(c)
}

// judge judges a connection by what is known of it.
func (i *Inspector) judge(c *conn) {
	v := i.walk(c, &c.facts)
	c.open = v.action == 0 && v.wanted != 0
	c.take(v)
	i.judgeLogin(c)
	c.judgeAt = 0
	if i.version.aging {
		c.judgeAt = i.version.Policy.NextAge(&c.facts)
	}
}

// walk judges facts of a connection.
func (i *Inspector) walk(c *conn, f *policy.Facts) verdict {
	v := verdict{tables: i.version.Tables, rule: noRule, shadowRule: noRule, matched: noRule}
	if i.version.Policy.Empty() {
		return v
	}
	f.Now, f.Age = i.now, max(i.now.Sub(c.FirstSeen), 0)
	if s := c.sealed; s != nil {
		judged := *f
		judged.Application, judged.HTTP, judged.TLS, judged.DNS, judged.SSH = s.Application, s.HTTP, s.TLS, s.DNS, s.SSH
		f = &judged
	}
	d := i.version.index.Walk(f)
	v.action, v.reason = d.Action, d.Reason
	v.wanted, v.shadowWanted = d.Wanted, d.ShadowWanted
	if d.Index >= 0 {
		v.rule = uint32(d.Index)
	}
	if i.version.promoted != nil {
		if at := i.version.promoted.Walk(f).Index; at >= 0 && i.version.shadows[at] {
			v.matched = uint32(at)
		}
	}
	if d.ShadowAction != 0 {
		v.shadowRule, v.shadowAction = v.matched, d.ShadowAction
	}
	return v
}

// take makes a verdict the connection's. Its first request decides; a later one can
// only cut it (DESIGN section 2), and what was cut stays so. While it is undecided
// anew, after a change of protocol, what was decided before stands.
func (c *conn) take(v verdict) {
	j := &c.judged
	switch {
	case j.tables != v.tables || j.action == 0:
		*j = v
	case v.action == 0 || j.action == policy.Block:
	case j.action == v.action:
		j.wanted, j.shadowWanted = v.wanted, v.shadowWanted
		if j.shadowAction == 0 {
			j.shadowRule, j.shadowAction, j.matched = v.shadowRule, v.shadowAction, v.matched
		}
	default:
		*j = v
	}
}

// judgement is a verdict as records bear it.
func (i *Inspector) judgement(v *verdict) telemetry.Judgement {
	prevent := i.version.Policy.Mode == policy.Prevent
	j := telemetry.Judgement{
		Generation: i.version.Generation, Verdict: telemetry.Detected, Action: telemetry.Action(v.action),
		Prevent: prevent, Reason: telemetry.Reason(v.reason), Rule: i.ruleName(v.rule),
	}
	if prevent {
		switch v.action {
		case policy.Block:
			j.Verdict = telemetry.Blocked
		case policy.Allow:
			j.Verdict = telemetry.Allowed
		default:
			j.Verdict = telemetry.Pending
		}
		if i.version.Policy.Empty() {
			j.Verdict = telemetry.Allowed
		}
	}
	if v.shadowAction != 0 {
		j.ShadowRule, j.ShadowAction = i.ruleName(v.shadowRule), telemetry.Action(v.shadowAction)
	}
	return j
}

func (i *Inspector) ruleName(at uint32) string {
	if int64(at) >= int64(len(i.version.Rules)) {
		return ""
	}
	return i.version.Rules[at]
}
