package policy

import (
	"maps"
	"net/netip"
	"slices"
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
	include, exclude := &c.d.scratch[0], &c.d.scratch[1]
	*include, *exclude = listParts{own: include.own[:0]}, listParts{own: exclude.own[:0]}
	var wanted, own bool
	known := c.list(acceptedAddress, func(at *cursor) {
		s, ok := at.text(acceptedAddress)
		if !ok {
			return
		}
		entry, except := strings.CutPrefix(s, "!")
		parts := exclude
		if !except {
			wanted = true
			parts = include
		}
		if name, isGroup := strings.CutPrefix(entry, "group:"); isGroup {
			parts.addGroup(name, at.groupAddresses(name))
			return
		}
		own = true
		at.appendAddresses(&parts.own, entry, acceptedAddress)
	})
	if !known {
		return AddressSet{}
	}
	if wanted && include.empty() {
		r.Never = true
		if !own {
			c.d.warnf(c.line(), r.Name, "can never match: the groups of %s are empty", c.path())
		}
		return AddressSet{}
	}
	if !wanted && exclude.empty() {
		return AddressSet{}
	}
	set := AddressSet{Include: everything, Exclude: c.joined(exclude), sorted: true}
	if wanted {
		set.Include = c.joined(include)
	}
	return set
}

// appendAddresses reads an entry and appends its prefixes to a list, unless there
// are too many.
func (c *cursor) appendAddresses(list *[]netip.Prefix, entry, accepted string) {
	before := len(*list)
	more, problem := appendAddresses(*list, entry)
	if problem != nil {
		c.fail(problem.found, accepted, problem.hint)
	}
	if problem == nil && c.countPrefixes(len(more)-before) {
		*list = more
	}
}

func (c *cursor) groupAddresses(name string) *addressGroup {
	g, ok := c.d.addressGroups[name]
	if !ok {
		_, other := c.d.nameGroups[name]
		c.unknownGroup(name, "addresses", slices.Collect(maps.Keys(c.d.addressGroups)), other)
	}
	return g
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
		n, ok := number(s, 255)
		if !ok {
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
