package classifier

import (
	"fmt"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// Compile makes the tables of p as it stands at now: rules that have expired
// keep their number and match nothing, and those that will say when. It refuses a policy whose tables would
// not fit, with the numbers.
func Compile(p *policy.Policy, now time.Time) (*Tables, error) {
	return compile(p, now, listsFrom)
}

// compile has all entries in the rows if there are no more than listsFrom.
func compile(p *policy.Policy, now time.Time, listsFrom int) (*Tables, error) {
	t := &Tables{Settings: settingsOf(p)}
	if p.Empty() {
		return t, nil // nothing is claimed, not even by safeguards
	}
	walked := p.Walked()
	// Most rules are one entry.
	t.Rules, t.Entries = make([]string, 0, len(walked)), make([]Entry, 0, len(walked))
	criteria := make([]criterion, 0, len(walked))
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
	return t, t.build(criteria, listsFrom)
}

// build makes the tables of the criteria, one for each entry.
func (t *Tables) build(criteria []criterion, listsFrom int) error {
	homes := assignHomes(criteria, listsFrom)
	var inTheRows []bitCriterion
	entries := make([]Entry, 0, len(criteria)) // those in the rows first
	for i := range criteria {
		t.Entries[i].Order = uint32(i)
		if homes[i] == inRows {
			inTheRows = append(inTheRows, bitCriterion{&criteria[i], uint32(len(entries))})
			entries = append(entries, t.Entries[i])
		}
	}
	if len(entries) > maxBits {
		return fmt.Errorf("%d entries (one for each transport of a rule) apply to many addresses, and the tables have room for %d of those; groups make one rule of many",
			len(entries), maxBits)
	}
	rows := newRowStore(len(entries))
	if err := t.Services.build(rows, inTheRows); err != nil {
		return err
	}
	source, destination := newSide(), newSide()
	for _, c := range inTheRows {
		source.member(&c.rule.Source).addBit(rows, c.bit)
		destination.member(&c.rule.Destination).addBit(rows, c.bit)
	}
	for i := range criteria {
		if homes[i] == inRows {
			continue
		}
		sides := source
		if homes[i] == onDestination {
			sides = destination
		}
		set, other := criteria[i].sides(homes[i])
		sides.member(set).addItems(criteria[i].itemsOf(other, uint32(len(entries)), uint32(i)))
		entries = append(entries, t.Entries[i])
	}
	t.Entries = entries
	lists := &listStore{}
	for _, a := range []struct {
		trie *Trie
		name string
		side *side
		v6   bool
	}{
		{&t.Source.IPv4, "IPv4 source", source, false},
		{&t.Source.IPv6, "IPv6 source", source, true},
		{&t.Destination.IPv4, "IPv4 destination", destination, false},
		{&t.Destination.IPv6, "IPv6 destination", destination, true},
	} {
		if err := a.side.build(a.trie, rows, lists, a.v6); err != nil {
			return fmt.Errorf("compile %s addresses: %w", a.name, err)
		}
	}
	t.Chunks = rows.width / RowWords
	t.Rows = rows.words
	t.Summaries = rows.summaries()
	t.Items = lists.items
	return nil
}

func settingsOf(p *policy.Policy) Settings {
	s := Settings{
		Prevent:        p.Mode == policy.Prevent,
		DefaultAction:  p.DefaultAction,
		Reject:         p.Reject,
		BlockMalformed: p.OnError.For(policy.Malformed) == policy.Block,
		BlockNonIP:     p.NonIP == policy.Block,
		RelatedICMP:    p.Safeguards.ICMPErrors,
		OnError:        p.OnError,
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
		Expires:   rule.Expires,
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
