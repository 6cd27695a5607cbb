package policy

import (
	"strings"
	"time"
)

var ruleKeys = []string{"name", "description", "action", "mode", "direction", "expires", "reject", "layer3", "layer4", "layer7"}

const acceptedName = "a name of a-z, 0-9, dot, underscore and hyphen, up to 128 long"

// rule reads one rule into r; the result is the place of its name.
func (c *cursor) rule(r *Rule) *cursor {
	*r = Rule{Direction: AnyDirection, Line: c.line()}
	f, ok := c.mapping(ruleKeys)
	if f == nil && !ok {
		return nil
	}
	name := f.get("name")
	if name == nil {
		c.fail("the rule has no name", acceptedName, "")
	} else if s, ok := name.text(acceptedName); ok {
		if isName(s, "._-") {
			r.Name = strings.Clone(s)
		} else {
			name.fail(quote(s)+" cannot be a rule's name", acceptedName, "")
		}
	}
	if v := f.get("description"); v != nil {
		s, _ := v.text("a text")
		r.Description = strings.Clone(s)
	}
	if v := f.get("action"); v != nil {
		r.Action = v.action()
	} else {
		c.fail("the rule has no action", "action: allow or action: block", "")
	}
	if v := f.get("mode"); v != nil {
		_, r.Shadow = v.word("detect")
	}
	if v := f.get("direction"); v != nil {
		i, _ := v.word("outbound", "inbound", "forwarded", "any")
		r.Direction = []DirectionSet{Outbound, Inbound, Forwarded, AnyDirection}[i]
	}
	if v := f.get("expires"); v != nil {
		r.Expires = v.time()
	}
	if v := f.get("reject"); v != nil {
		if on, ok := v.flag(); ok {
			r.Reject = &on
		}
	}
	if v := f.get("layer3"); v != nil {
		v.layer3(r)
	}
	if v := f.get("layer4"); v != nil {
		v.layer4(r)
	}
	if v := f.get("layer7"); v != nil {
		v.layer7(r)
		v.impliedTransports(r)
	}
	c.d.keys = append(c.d.keys, c.d.key.of(f))
	return name
}

// impliedTransports narrows the transports to those that the criteria of layer7
// can be met on, so that nothing else is held for them.
func (c *cursor) impliedTransports(r *Rule) {
	implied := r.Layer7.protocols()
	if implied == nil {
		return
	}
	if len(r.Transports) == 0 {
		for _, p := range implied {
			r.Transports = append(r.Transports, Transport{Protocol: p})
		}
		return
	}
	var left []Transport
	for _, t := range r.Transports {
		for _, p := range implied {
			if t.Protocol == p {
				left = append(left, t)
			}
		}
	}
	if len(left) == 0 {
		// The transports stay as they are written; no packet has them and the facts.
		r.Never = true
		names := make([]string, len(implied))
		for i, p := range implied {
			names[i] = transportName(p)
		}
		c.d.warnf(c.line(), r.Name, "can never match: its layer7 criteria exist on %s only, which its layer4 leaves out", strings.Join(names, " and "))
		return
	}
	r.Transports = left
}

// time reads a point in time.
func (c *cursor) time() time.Time {
	const accepted = "a time such as 2027-01-31T00:00:00Z or 2027-01-31T00:00:00+02:00"
	s, ok := c.text(accepted)
	if !ok {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		hint := ""
		if _, err := time.Parse(time.DateOnly, s); err == nil {
			hint = "did you mean " + s + "T00:00:00Z?"
		}
		c.fail(quote(s)+" is not a time", accepted, hint)
	}
	return t
}

// maxDuration is a hundred years; more is a slip, and would overflow sums.
const maxDuration = 36500 * 24 * time.Hour

// duration reads a positive duration in Go's notation, and days.
func (c *cursor) duration() time.Duration {
	const accepted = "a duration such as 90s, 1h30m or 14d, up to 36500d"
	s, ok := c.text(accepted)
	if !ok {
		return 0
	}
	d, ok := parseDuration(s)
	if !ok {
		hint := ""
		if _, digits := parseDuration(s + "s"); digits {
			hint = "give the unit: " + s + "s?"
		}
		c.fail(quote(s)+" is not a duration", accepted, hint)
		return 0
	}
	return d
}

func parseDuration(s string) (time.Duration, bool) {
	var d time.Duration
	rest := s
	if days, after, found := strings.Cut(s, "d"); found {
		n, err := time.ParseDuration(days + "h")
		if err != nil || strings.ContainsAny(days, "hmsuµn+-") || n > maxDuration/24 {
			return 0, false
		}
		d, rest = 24*n, after
	}
	if rest != "" {
		more, err := time.ParseDuration(rest)
		if err != nil || strings.ContainsAny(rest, "+-") {
			return 0, false
		}
		if more > maxDuration {
			return 0, false
		}
		d += more
	}
	return d, d > 0 && d <= maxDuration
}
