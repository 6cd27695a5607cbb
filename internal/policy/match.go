package policy

import "slices"

// match judges a rule on facts: its packet criteria first, which are always
// known, then those that may wait.
func (r *Rule) match(f *Facts) truth {
	if r.Never || r.expired(f.Now) && !f.Now.IsZero() || !r.matchPacket(f) {
		return no
	}
	if r.Layer7 == nil {
		return yes
	}
	return r.Layer7.match(f)
}

// matchPacket judges the criteria of the stage packet.
func (r *Rule) matchPacket(f *Facts) bool {
	return r.Direction&f.Direction != 0 &&
		r.matchSpecial(f) &&
		r.matchTransport(f) &&
		(len(r.OtherProtocols) == 0 || slices.Contains(r.OtherProtocols, f.Protocol)) &&
		r.Source.Contains(f.Source) &&
		r.Destination.Contains(f.Destination) &&
		// No entry means false: names that come later do not count (DESIGN section 4).
		(r.DestinationNames == nil || r.DestinationNames.MatchAny(f.Names))
}

func (r *Rule) matchSpecial(f *Facts) bool {
	switch r.Special {
	case OnLoopback:
		return f.Loopback
	case HopLimit255:
		return f.HopLimit == 255
	case RelatedICMP:
		return f.QuotesAllowed
	case OwnSocket:
		return f.OwnSocket
	}
	return true
}

func (r *Rule) matchTransport(f *Facts) bool {
	if len(r.Transports) == 0 {
		return true
	}
	source, destination := f.SourcePort, f.DestinationPort
	if f.Protocol == protocolICMP || f.Protocol == protocolICMPv6 {
		source, destination = uint16(f.ICMPType), uint16(f.ICMPCode)
	}
	for i := range r.Transports {
		t := &r.Transports[i]
		if t.Protocol == f.Protocol && inRanges(t.Source, source) && inRanges(t.Destination, destination) &&
			(t.Over == 0 || f.Age > t.Over) {
			return true
		}
	}
	return false
}

func inRanges(ranges []Range, n uint16) bool {
	for _, r := range ranges {
		if r.First <= n && n <= r.Last {
			return true
		}
	}
	return len(ranges) == 0
}
