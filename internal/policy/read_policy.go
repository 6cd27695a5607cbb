package policy

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	policyKeys    = []string{"mode", "default_action", "on_error", "reject", "non_ip", "safeguards", "groups", "rules"}
	safeguardKeys = []string{"loopback", "dhcp", "neighbor-discovery", "icmp-errors", "export"}
	onErrorKeys   = []string{"malformed", "limit", "overload", "agent_down", "not_seen"}
)

// policy reads the whole policy. Groups come first wherever they stand, since
// rules name them.
func (d *decoder) policy(root *yaml.Node) *Policy {
	p := Observe()
	p.DefaultAction = 0
	keys := policyKeys
	if d.doc.Service {
		keys = slices.Concat(policyKeys, serviceKeys)
	}
	f, _ := d.cursor(root).mapping(keys)
	if c := f.get("groups"); c != nil {
		d.groups(c)
	}
	if c := f.get("mode"); c != nil {
		i, _ := c.word("detect", "prevent")
		p.Mode = []Mode{Detect, Prevent}[i]
	}
	if c := f.get("default_action"); c != nil {
		p.DefaultAction = c.action()
	}
	if c := f.get("on_error"); c != nil {
		p.OnError = c.onError()
	}
	if c := f.get("reject"); c != nil {
		i, _ := c.word("outbound", "always", "never")
		p.Reject = []RejectMode{RejectOutbound, RejectAlways, RejectNever}[i]
	}
	if c := f.get("non_ip"); c != nil {
		p.NonIP = c.action()
	}
	if c := f.get("safeguards"); c != nil {
		c.safeguards(&p.Safeguards)
	}
	if c := f.get("rules"); c != nil {
		p.Rules = c.rules()
	}
	p.DefaultAction = p.defaultAction()
	return p
}

func (c *cursor) action() Action {
	i, ok := c.word("allow", "block")
	if !ok {
		return 0
	}
	return []Action{Allow, Block}[i]
}

func (c *cursor) onError() OnError {
	if c.n.Kind != yaml.MappingNode {
		return onErrorOf(c.action())
	}
	o := DefaultOnError()
	f, _ := c.mapping(onErrorKeys)
	for _, v := range f {
		switch v.key {
		case "malformed":
			o.Malformed = v.action()
		case "limit":
			o.Limit = v.action()
		case "overload":
			o.Overload = v.action()
		case "agent_down":
			o.AgentDown = v.action()
		case "not_seen":
			i, _ := v.word("allow", "block", "keep")
			o.NotSeen = []Action{Allow, Block, Block}[i]
			o.Keep = i == 2
		}
	}
	return o
}

func (c *cursor) safeguards(s *Safeguards) {
	f, _ := c.mapping(safeguardKeys)
	for _, v := range f {
		on, ok := v.flag()
		if !ok {
			continue
		}
		switch v.key {
		case "loopback":
			s.Loopback = on
		case "dhcp":
			s.DHCP = on
		case "neighbor-discovery":
			s.NeighborDiscovery = on
		case "icmp-errors":
			s.ICMPErrors = on
		case "export":
			s.Export = on
		}
	}
}

// rules reads the list of rules; unlike other lists it may be empty.
func (c *cursor) rules() []Rule {
	if !c.known() {
		return nil
	}
	if c.n.Kind != yaml.SequenceNode {
		hint := ""
		if c.n.Kind == yaml.MappingNode {
			hint = "begin each rule with \"- \""
		}
		c.fail("found "+c.what(), "a list of rules", hint)
		return nil
	}
	items, count := slices.Values(c.n.Content), len(c.n.Content)
	if c.n == c.d.tree.rules {
		items, count = c.d.tree.items, c.d.tree.count
	}
	// A text can have millions of items that are no rules.
	count = min(count, 1<<18)
	rules := make([]Rule, 0, count)
	c.d.keys = make([]criteriaKey, 0, count)
	lines := make(map[string]int, count)
	i := 0
	for n := range items {
		if c.stopped() {
			break
		}
		cursors, fields := c.d.cursors.mark, c.d.fields.mark
		// Once there are errors, no rules are asked for.
		if len(c.d.errs) == 0 || len(rules) == 0 {
			rules = append(rules, Rule{})
		}
		r := &rules[len(rules)-1]
		name := c.child("", i, n).rule(r)
		if name != nil && r.Name != "" {
			if first, twice := lines[r.Name]; twice {
				name.fail("a rule named "+quote(r.Name)+" is there already", "a name of its own for each rule", secondHint(first))
			} else {
				lines[r.Name] = name.line()
			}
		}
		// What the rule was read with is needed no more.
		c.d.cursors.release(cursors)
		c.d.fields.release(fields)
		i++
	}
	return rules
}

func secondHint(line int) string {
	if line == 0 {
		return ""
	}
	return fmt.Sprintf("the first is in line %d", line)
}

// isName checks the names of rules and groups.
func isName(s string, extra string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		b := s[i]
		if !(b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || strings.IndexByte(extra, b) >= 0) {
			return false
		}
	}
	return true
}

// maxName bounds names, which stand in every event.
const maxName = 128
