package policy

import (
	"net/netip"
	"strings"
)

// Safeguards says which of the built-in rules stand before the user's.
type Safeguards struct {
	Loopback          bool
	DHCP              bool
	NeighborDiscovery bool
	ICMPErrors        bool
	Export            bool
}

// DefaultSafeguards are all of them.
func DefaultSafeguards() Safeguards {
	return Safeguards{Loopback: true, DHCP: true, NeighborDiscovery: true, ICMPErrors: true, Export: true}
}

// safeguardPrefix cannot begin the name of a user's rule.
const safeguardPrefix = "weir:"

// Safeguard says whether the rule is one of the built-in ones.
func (r *Rule) Safeguard() bool { return strings.HasPrefix(r.Name, safeguardPrefix) }

// safeguardRules stand in the order of the fields of Safeguards.
var safeguardRules = [...]Rule{
	{
		Name: "weir:loopback", Description: "traffic of this host with itself",
		Action: Allow, Direction: AnyDirection, Special: OnLoopback,
	},
	{
		Name: "weir:dhcp", Description: "address assignment by DHCP and DHCPv6",
		Action: Allow, Direction: AnyDirection,
		Transports: []Transport{
			udpPorts(68, 67), udpPorts(67, 68), udpPorts(546, 547), udpPorts(547, 546),
		},
	},
	{
		// A packet from beyond a router cannot have hop limit 255, so nobody off
		// the link gets in by this rule (RFC 4861 section 3.1).
		Name: "weir:neighbor-discovery", Description: "IPv6 neighbor discovery from this link",
		Action: Allow, Direction: AnyDirection, Special: HopLimit255,
		Transports: []Transport{{Protocol: protocolICMPv6, Source: []Range{{133, 137}}}},
	},
	{
		// Switches that watch for listeners (RFC 4541) drop neighbor discovery to a
		// host they have not heard. Routers do not forward link-local sources.
		Name: "weir:multicast-listener", Description: "IPv6 multicast listener reports and queries on this link",
		Action: Allow, Direction: AnyDirection,
		Source:      AddressSet{Include: []netip.Prefix{netip.MustParsePrefix("::/128"), netip.MustParsePrefix("fe80::/10")}},
		Destination: AddressSet{Include: []netip.Prefix{netip.MustParsePrefix("ff02::/16")}},
		Transports:  []Transport{{Protocol: protocolICMPv6, Source: []Range{{130, 132}, {143, 143}}}},
	},
	{
		// Redirects and source quench are left out: they steer traffic rather
		// than report a failure.
		Name: "weir:icmp-errors", Description: "ICMP errors that quote an allowed connection",
		Action: Allow, Direction: AnyDirection, Special: RelatedICMP,
		Transports: []Transport{
			{Protocol: protocolICMP, Source: []Range{{3, 3}, {11, 12}}},
			{Protocol: protocolICMPv6, Source: []Range{{1, 4}}},
		},
	},
	{
		Name: "weir:export", Description: "the connections of Weir itself",
		Action: Allow, Direction: AnyDirection, Special: OwnSocket,
	},
}

func udpPorts(source, destination uint16) Transport {
	return Transport{
		Protocol:    protocolUDP,
		Source:      []Range{{source, source}},
		Destination: []Range{{destination, destination}},
	}
}

// on lists the switches in the order of safeguardRules.
func (s Safeguards) on() [len(safeguardRules)]bool {
	return [...]bool{s.Loopback, s.DHCP, s.NeighborDiscovery, s.NeighborDiscovery, s.ICMPErrors, s.Export}
}

// rules are copies of the safeguards that are switched on.
func (s Safeguards) rules() []Rule {
	rules := make([]Rule, 0, len(safeguardRules))
	for i, on := range s.on() {
		if on {
			rules = append(rules, safeguardRules[i])
		}
	}
	return rules
}
