package classifier

import (
	"fmt"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// Compile makes the tables of p as it stands at now: rules that have expired
// keep their number and match nothing. It refuses a policy whose tables would
// not fit, with the numbers.
func Compile(p *policy.Policy, now time.Time) (*Tables, error) {
	t := &Tables{Settings: settingsOf(p)}
	if p.Empty() {
		return t, nil // nothing is claimed, not even by safeguards
	}
	walked := p.Walked()
	var criteria []criterion
	for i := range walked {
		rule := &walked[i]
		t.Rules = append(t.Rules, rule.Name)
		if rule.Never || !rule.Expires.IsZero() && !now.Before(rule.Expires) {
			continue
		}
		if rule.Special == policy.RelatedICMP {
			continue // Settings.RelatedICMP
		}
		for _, c := range expand(rule) {
			e := entryOf(p, rule, uint32(i))
			e.Over = c.over
			t.Entries = append(t.Entries, e)
			criteria = append(criteria, c)
		}
	}
	if len(criteria) == 0 {
		return t, nil
	}
	t.Chunks = (len(criteria) + RowWords*64 - 1) / (RowWords * 64)
	b := newRowBuilder(t.Chunks * RowWords)
	// Services have 16 bits for a row number, so their rows come first.
	if err := t.Services.build(b, criteria); err != nil {
		return nil, err
	}
	for _, a := range []struct {
		rows *[]PrefixRow
		side string
		set  func(*criterion) *policy.AddressSet
		v6   bool
	}{
		{&t.Source4, "IPv4 source", func(c *criterion) *policy.AddressSet { return &c.rule.Source }, false},
		{&t.Source6, "IPv6 source", func(c *criterion) *policy.AddressSet { return &c.rule.Source }, true},
		{&t.Destination4, "IPv4 destination", func(c *criterion) *policy.AddressSet { return &c.rule.Destination }, false},
		{&t.Destination6, "IPv6 destination", func(c *criterion) *policy.AddressSet { return &c.rule.Destination }, true},
	} {
		var err error
		if *a.rows, err = buildAddresses(b, criteria, a.set, a.v6); err != nil {
			return nil, fmt.Errorf("compile %s addresses: %w", a.side, err)
		}
	}
	t.Rows = b.words
	return t, nil
}

func settingsOf(p *policy.Policy) Settings {
	s := Settings{
		Prevent:        p.Mode == policy.Prevent,
		DefaultAction:  p.DefaultAction,
		Reject:         p.Reject,
		BlockMalformed: p.OnError.For(policy.Malformed) == policy.Block,
		BlockNonIP:     p.NonIP == policy.Block,
		RelatedICMP:    p.Safeguards.ICMPErrors,
	}
	if p.Empty() {
		s.DefaultAction = 0
	}
	return s
}

func entryOf(p *policy.Policy, rule *policy.Rule, number uint32) Entry {
	e := Entry{
		Rule:      number,
		Action:    rule.Action,
		Shadow:    rule.Shadow,
		Safeguard: rule.Safeguard(),
		Undecided: rule.NeedsFacts(),
		Special:   rule.Special,
		Reject:    rule.Reject,
	}
	if e.Undecided && rule.Action == policy.Block {
		for _, cause := range []policy.Cause{policy.Malformed, policy.Limit, policy.Overload, policy.AgentDown, policy.NotSeen} {
			e.ErrorAllows = e.ErrorAllows || p.OnError.For(cause) == policy.Allow
		}
	}
	return e
}

// criterion is what one entry asks of a packet.
type criterion struct {
	rule        *policy.Rule
	protocols   []uint8 // empty: any
	source      []policy.Range
	destination []policy.Range
	over        time.Duration
}

// expand gives one criterion for each transport of the rule.
func expand(rule *policy.Rule) []criterion {
	if len(rule.Transports) == 0 {
		return []criterion{{rule: rule, protocols: rule.OtherProtocols}}
	}
	var all []criterion
	for _, tr := range rule.Transports {
		if len(rule.OtherProtocols) > 0 && !contains(rule.OtherProtocols, tr.Protocol) {
			continue
		}
		all = append(all, criterion{
			rule: rule, protocols: []uint8{tr.Protocol},
			source: tr.Source, destination: tr.Destination, over: tr.Over,
		})
	}
	return all
}

func contains(protocols []uint8, p uint8) bool {
	for _, q := range protocols {
		if q == p {
			return true
		}
	}
	return false
}
