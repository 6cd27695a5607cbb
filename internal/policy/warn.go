package policy

import (
	"cmp"
	"net/netip"
	"slices"
)

// warn looks for what is accepted but hardly meant.
func (d *decoder) warn(p *Policy) {
	d.warnRepeated(p)
	// Many rules may have the same sets, and the sets many prefixes.
	empty := map[AddressSetID]bool{}
	nothingLeft := func(s *AddressSet) bool {
		if len(s.Exclude) == 0 {
			return false
		}
		id := s.ID()
		answer, known := empty[id]
		if !known {
			answer = nothingLeft(s)
			empty[id] = answer
		}
		return answer
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.expired(d.doc.Now) {
			d.warnf(r.Line, r.Name, "has expired at %s", r.Expires.Format("2006-01-02T15:04:05Z07:00"))
		}
		if len(r.OtherProtocols) > 0 && len(r.Transports) > 0 {
			d.warnf(r.Line, r.Name, "can never match: other_protocols are those that layer4 and layer7 do not have")
		}
		if nothingLeft(&r.Source) || nothingLeft(&r.Destination) {
			d.warnf(r.Line, r.Name, "can never match: its exceptions cover all of its addresses")
		} else if !familiesMeet(r) {
			d.warnf(r.Line, r.Name, "can never match: no address family has its sources, destinations and transports")
		}
		if r.DestinationNames != nil && r.Action == Block {
			d.warnf(r.Line, r.Name, "blocks by destination_names, which a client evades by an answer it has cached")
		}
		if l := r.Layer7; l != nil && l.HTTP != nil && httpsOnly(r.Transports) {
			d.warnf(r.Line, r.Name, "has http criteria on port 443: Weir cannot see inside TLS, use tls.server_names or domains")
		}
	}
	slices.SortStableFunc(d.warnings, func(a, b Warning) int { return cmp.Compare(a.Line, b.Line) })
}

// warnRepeated finds rules behind one that takes all they could match.
func (d *decoder) warnRepeated(p *Policy) {
	first := make(map[criteriaKey]int32, len(p.Rules))
	var all *Rule
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.Never {
			continue
		}
		if all != nil {
			d.warnf(r.Line, r.Name, "can never match: the rule %s before it matches everything", all.Name)
			continue
		}
		key := d.keys[i]
		if before, found := first[key]; found {
			d.warnf(r.Line, r.Name, "can never match: the rule %s before it has the same criteria", p.Rules[before].Name)
			continue
		}
		// A shadow rule takes nothing, and one that expires only for a while.
		if r.Shadow || !r.Expires.IsZero() {
			continue
		}
		first[key] = int32(i)
		if r.matchesAll() {
			all = r
		}
	}
}

// matchesAll says whether the rule has no criteria.
func (r *Rule) matchesAll() bool {
	return r.Direction == AnyDirection && r.Source.IsAny() && r.Destination.IsAny() && len(r.Transports) == 0 &&
		len(r.OtherProtocols) == 0 && !r.NeedsFacts() && r.Special == NoSpecial && !r.Never
}

// nothingLeft says whether each prefix of the set lies in one exception.
func nothingLeft(s *AddressSet) bool {
	return !slices.ContainsFunc(s.Include, func(p netip.Prefix) bool {
		return !within(s.Exclude, p)
	})
}

// within says whether one of the disjoint, sorted prefixes has all of p.
func within(prefixes []netip.Prefix, p netip.Prefix) bool {
	i, found := slices.BinarySearchFunc(prefixes, p.Addr(), func(e netip.Prefix, a netip.Addr) int { return e.Addr().Compare(a) })
	if !found {
		i--
	}
	return i >= 0 && prefixes[i].Bits() <= p.Bits() && prefixes[i].Contains(p.Addr())
}

// familiesMeet says whether an address family is left by all criteria.
func familiesMeet(r *Rule) bool {
	v4, v6 := true, true
	for _, s := range []*AddressSet{&r.Source, &r.Destination} {
		if n := len(s.Include); n > 0 {
			// The prefixes are sorted, IPv4 first.
			v4 = v4 && s.Include[0].Addr().Is4()
			v6 = v6 && s.Include[n-1].Addr().Is6()
		}
	}
	if len(r.Transports) == 0 {
		return v4 || v6
	}
	return slices.ContainsFunc(r.Transports, func(t Transport) bool {
		return t.Protocol != protocolICMPv6 && v4 || t.Protocol != protocolICMP && v6
	})
}

// httpsOnly says whether a port is asked for, and it is 443 alone.
func httpsOnly(transports []Transport) bool {
	for _, t := range transports {
		if t.Protocol == protocolTCP && (len(t.Destination) != 1 || t.Destination[0] != (Range{443, 443})) {
			return false
		}
	}
	return len(transports) > 0
}
