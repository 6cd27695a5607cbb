// Package policy is the policy language and its reference evaluator: rules,
// the YAML and JSON reader, the JSON Schema and the walk over four-state facts.
// It is pure Go, does no I/O of its own and compiles for WebAssembly.
package policy

import (
	"net/netip"
	"time"
)

// Action is what a rule or the default does with a connection.
type Action uint8

// The actions.
const (
	Allow Action = iota + 1
	Block
)

// Mode says whether verdicts are enforced.
type Mode uint8

// The modes.
const (
	Detect Mode = iota
	Prevent
)

// RejectMode says when the sender of a blocked packet is answered.
type RejectMode uint8

// The reject modes.
const (
	RejectOutbound RejectMode = iota
	RejectAlways
	RejectNever
)

// DirectionSet is a set of directions as bits.
type DirectionSet uint8

// The directions; bit n stands for packet.Direction n+1.
const (
	Inbound      DirectionSet = 1 << 0
	Outbound     DirectionSet = 1 << 1
	Forwarded    DirectionSet = 1 << 2
	AnyDirection DirectionSet = Inbound | Outbound | Forwarded
)

// Special is a criterion that only safeguards have.
type Special uint8

// The special criteria.
const (
	NoSpecial   Special = iota
	OnLoopback          // seen on a loopback interface
	HopLimit255         // IPv6 hop limit 255: sent by a neighbor (RFC 4861 section 7.1)
	RelatedICMP         // an ICMP error that quotes an allowed connection
	OwnSocket           // a socket of Weir's own process
)

// AddressSet is a set of addresses as prefixes; ranges and groups are resolved
// when the policy is read. Exclude wins over Include. A set with Exclude only
// has Include 0.0.0.0/0 and ::/0. The zero value means any address.
type AddressSet struct {
	Include []netip.Prefix
	Exclude []netip.Prefix

	// sorted: the prefixes are in order, and none lies in another. Load makes
	// them so.
	sorted bool
}

// Range is an inclusive range of ports, ICMP types or ICMP codes.
type Range struct{ First, Last uint16 }

// Transport is one alternative of layer4; its criteria are "and".
type Transport struct {
	// Protocol is the IP protocol number: 1, 6, 17 or 58.
	Protocol uint8
	// Source is the set of source ports, of ICMP the types; empty means any.
	Source []Range
	// Destination is the set of destination ports, of ICMP the codes.
	Destination []Range
	// Over is the age that a TCP connection must be over; 0 means any.
	Over time.Duration
}

// Rule is one rule with its groups resolved.
type Rule struct {
	Name        string
	Description string
	Action      Action
	// Shadow: mode detect on a rule; it never ends the walk (DESIGN section 2).
	Shadow    bool
	Direction DirectionSet
	// Expires is zero for a rule that stays.
	Expires time.Time
	// Reject is the rule's own choice over the policy's; nil when not given.
	Reject *bool
	// Special is set on safeguards only.
	Special Special
	// Line is where the rule stands in the file; 0 for safeguards.
	Line int
	// Never marks a rule that cannot match: its layer7 contradicts its layer4,
	// or its addresses are those of empty groups only.
	Never bool

	Source      AddressSet
	Destination AddressSet
	// Transports are the alternatives of layer4, those that layer7 implies
	// included; empty means any protocol.
	Transports []Transport
	// OtherProtocols restricts the IP protocol; empty means any.
	OtherProtocols []uint8

	// DestinationNames, and Layer7 nil when the rule has none.
	DestinationNames *NameSet
	Layer7           *Layer7
}
