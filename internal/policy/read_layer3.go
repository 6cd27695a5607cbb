package policy

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

var layer3Keys = []string{"source", "destination", "destination_names", "other_protocols"}

func (c *cursor) layer3(r *Rule) {
	f, _ := c.mapping(layer3Keys)
	if v := f.get("source"); v != nil {
		r.Source = v.addresses(r)
	}
	if v := f.get("destination"); v != nil {
		r.Destination = v.addresses(r)
	}
	if v := f.get("destination_names"); v != nil {
		r.DestinationNames = v.names(r)
	}
	if v := f.get("other_protocols"); v != nil {
		v.list(acceptedProtocol, func(at *cursor) {
			if p, ok := at.protocol(); ok && !slices.Contains(r.OtherProtocols, p) {
				r.OtherProtocols = append(r.OtherProtocols, p)
			}
		})
	}
}

// addresses reads a list of addresses.
func (c *cursor) addresses(r *Rule) AddressSet {
	var include, exclude []netip.Prefix
	var wanted, known, own bool
	known = c.list(acceptedAddress, func(at *cursor) {
		s, ok := at.text(acceptedAddress)
		if !ok {
			return
		}
		entry, except := strings.CutPrefix(s, "!")
		if !except {
			wanted = true
		}
		var prefixes []netip.Prefix
		name, isGroup := strings.CutPrefix(entry, "group:")
		if isGroup {
			prefixes = at.groupAddresses(name)
		} else {
			own = true
			var problem *addressProblem
			if prefixes, problem = parseAddresses(entry); problem != nil {
				at.fail(problem.found, acceptedAddress, problem.hint)
			}
		}
		list := &include
		if except {
			list = &exclude
		}
		// A group that stands alone is shared rather than copied.
		if shared := len(*list) == 0 && isGroup; shared || at.countPrefixes(len(prefixes)) {
			*list = join(*list, prefixes)
		}
	})
	if !known {
		return AddressSet{}
	}
	if wanted && len(include) == 0 {
		r.Never = true
		if !own {
			c.d.warnf(c.line(), r.Name, "can never match: the groups of %s are empty", c.path())
		}
		return AddressSet{}
	}
	if !wanted {
		if len(exclude) == 0 {
			return AddressSet{}
		}
		include = everything
	}
	return AddressSet{Include: disjointCopy(include), Exclude: disjointCopy(exclude), sorted: true}
}

// join appends without writing into the array of a group.
func join(list, more []netip.Prefix) []netip.Prefix {
	if len(list) == 0 {
		return more[:len(more):len(more)]
	}
	return append(list, more...)
}

// disjointCopy leaves a list that is in order already as it is: that of a group.
func disjointCopy(prefixes []netip.Prefix) []netip.Prefix {
	ordered := true
	for i := 1; i < len(prefixes) && ordered; i++ {
		ordered = prefixes[i-1].Addr().Less(prefixes[i].Addr()) && !prefixes[i-1].Contains(prefixes[i].Addr())
	}
	if ordered {
		return prefixes
	}
	return disjoint(slices.Clone(prefixes))
}

func (c *cursor) groupAddresses(name string) []netip.Prefix {
	g, ok := c.d.addressGroups[name]
	if !ok {
		_, other := c.d.nameGroups[name]
		c.unknownGroup(name, "addresses", slices.Collect(maps.Keys(c.d.addressGroups)), other)
	}
	if g == nil {
		return nil
	}
	return g.prefixes
}

const acceptedProtocol = "the name or number of an IP protocol that layer4 does not know, such as gre or 132"

// protocolNames are IANA's keywords of protocols in use, in lower case.
var protocolNames = map[string]uint8{
	"icmp": 1, "igmp": 2, "ggp": 3, "ipip": 4, "ipv4": 4, "st": 5, "tcp": 6, "egp": 8, "igp": 9, "udp": 17,
	"dccp": 33, "ipv6": 41, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "mobile": 55, "icmpv6": 58,
	"eigrp": 88, "ospf": 89, "etherip": 97, "pim": 103, "ipcomp": 108, "vrrp": 112, "l2tp": 115,
	"isis": 124, "sctp": 132, "fc": 133, "udplite": 136, "mpls": 137, "manet": 138, "hip": 139,
	"shim6": 140, "wesp": 141, "rohc": 142, "ethernet": 143, "nsh": 145,
}

func (c *cursor) protocol() (uint8, bool) {
	s, ok := c.text(acceptedProtocol)
	if !ok {
		return 0, false
	}
	p, known := protocolNames[s]
	if !known {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil {
			hint := ""
			if near := nearest(strings.ToLower(s), slices.Sorted(maps.Keys(protocolNames))); near != "" {
				hint = "did you mean " + near + "?"
			}
			c.fail(quote(s)+" is not an IP protocol", acceptedProtocol, hint)
			return 0, false
		}
		p = uint8(n)
	}
	if name := transportName(p); name != "" {
		c.fail(quote(s)+" has its own criteria", acceptedProtocol, "write layer4: "+name)
		return 0, false
	}
	return p, true
}
