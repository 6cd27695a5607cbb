// Package suggest makes a policy of connections that were seen: the least that
// allows them, within bounds on its length. It is pure: no I/O, no clock.
package suggest

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// Seen is one connection, or several alike.
type Seen struct {
	Direction packet.Direction
	Tuple     packet.Tuple
	// Name is what the connection said it is for: the server name of TLS and QUIC, or
	// the host of an HTTP request; empty where it said nothing.
	Name        string
	First, Last time.Time
	// Count is how many connections this stands for; 0 adds nothing to the evidence.
	Count uint64
}

// Config bounds the policy.
type Config struct {
	// MaxRules is the number of rules; beyond it the rarest are joined.
	MaxRules int
	// MaxAddresses is the number of prefixes in a rule; beyond it, any address will
	// do.
	MaxAddresses int
	// MaxPorts is the number of ports and ranges in a rule; beyond it, the nearest
	// are joined.
	MaxPorts int
	// MaxSiblings is the number of names of one parent in a rule; beyond it, "*" is
	// written for the label that differs.
	MaxSiblings int
	// Mode is that of the policy.
	Mode policy.Mode
}

// DefaultConfig is for people who read what comes out.
func DefaultConfig() Config {
	return Config{MaxRules: 100, MaxAddresses: 64, MaxPorts: 32, MaxSiblings: 8}
}

// maxPeers is how many different ends are remembered. A service to which one more
// would be added is taken to be for any.
const maxPeers = 1 << 20

// Suggestion is a policy in the making. It is not for concurrent use.
type Suggestion struct {
	config   Config
	services map[service]*usage
	peers    int
	// first, last and count are the evidence of all.
	evidence
	// leftOut counts connections by why they need no rule, or get none.
	leftOut map[string]uint64
}

// service is what is used: by its direction and what is asked of the other end.
type service struct {
	direction packet.Direction
	protocol  uint8
	// number is the destination port, of ICMP the type and the code; 0 for other
	// protocols.
	number uint16
}

// usage is who uses a service.
type usage struct {
	evidence
	// peers are the ends between which it was used; nil once there were too many.
	peers map[peer]*evidence
}

// peer is a pair of ends as far as the direction leaves them open: of outbound
// connections the source is this host, of inbound ones the destination.
type peer struct {
	source, destination netip.Addr
	name                string // instead of destination
}

// evidence is what a rule is there for.
type evidence struct {
	count       uint64
	first, last time.Time
	examples    []example
}

type example struct {
	tuple packet.Tuple
	name  string
}

const maxExamples = 3

func (e *evidence) add(s *Seen) {
	e.count += s.Count
	if e.first.IsZero() || s.First.Before(e.first) {
		e.first = s.First
	}
	if s.Last.After(e.last) {
		e.last = s.Last
	}
	e.show(example{s.Tuple, s.Name})
}

// show keeps the first examples that differ in more than the port of a client.
func (e *evidence) show(x example) {
	if len(e.examples) == maxExamples {
		return
	}
	for _, is := range e.examples {
		if is.tuple.Source == x.tuple.Source && is.tuple.Destination == x.tuple.Destination &&
			is.tuple.DestinationPort == x.tuple.DestinationPort && is.name == x.name {
			return
		}
	}
	e.examples = append(e.examples, x)
}

func (e *evidence) join(o *evidence) {
	e.count += o.count
	if e.first.IsZero() || o.first.Before(e.first) && !o.first.IsZero() {
		e.first = o.first
	}
	if o.last.After(e.last) {
		e.last = o.last
	}
	for _, x := range o.examples {
		e.show(x)
	}
}

// New begins a suggestion.
func New(c Config) *Suggestion {
	return &Suggestion{config: c, services: map[service]*usage{}, leftOut: map[string]uint64{}}
}

// LeaveOut counts connections that get no rule, and why.
func (s *Suggestion) LeaveOut(why string, count uint64) { s.leftOut[why] += count }

// bySafeguards is why most hosts' first connections need no rule.
const bySafeguards = "allowed by the safeguards"

// Add takes a connection in.
func (s *Suggestion) Add(seen Seen) {
	if safeguarded(&seen) {
		s.LeaveOut(bySafeguards, seen.Count)
		return
	}
	if seen.Name = usableName(seen.Name); !seen.Tuple.HasPorts() {
		seen.Name = "" // only TCP and QUIC say names
	}
	k := service{direction: seen.Direction, protocol: seen.Tuple.Protocol}
	switch {
	case seen.Tuple.HasPorts():
		k.number = seen.Tuple.DestinationPort
	case seen.Tuple.IsICMP():
		k.number = uint16(seen.Tuple.ICMPType)<<8 | uint16(seen.Tuple.ICMPCode)
	}
	u := s.services[k]
	if u == nil {
		u = &usage{peers: map[peer]*evidence{}}
		s.services[k] = u
	}
	u.add(&seen)
	s.add(&seen)
	if u.peers == nil {
		return
	}
	p := peerOf(&seen)
	e := u.peers[p]
	if e == nil {
		if s.peers == maxPeers {
			s.peers -= len(u.peers)
			u.peers = nil
			return
		}
		e = &evidence{}
		u.peers[p] = e
		s.peers++
	}
	e.add(&seen)
}

func peerOf(s *Seen) peer {
	var p peer
	if s.Direction != packet.Outbound {
		p.source = s.Tuple.Source
	}
	switch {
	case s.Direction == packet.Inbound:
	case s.Name != "":
		p.name = s.Name
	default:
		p.destination = s.Tuple.Destination
	}
	return p
}

// safeguardsOnly answers what they allow. A hop limit is in no record; what looks
// like neighbor discovery is taken for it.
var safeguardsOnly = &policy.Policy{DefaultAction: policy.Block, OnError: policy.DefaultOnError(), Safeguards: policy.DefaultSafeguards()}

func safeguarded(s *Seen) bool {
	f := Facts(s)
	f.HopLimit = 255
	return safeguardsOnly.Walk(f).Action == policy.Allow
}

// Facts are those by which the policy judges the connection.
func Facts(s *Seen) *policy.Facts {
	t := &s.Tuple
	f := &policy.Facts{
		Direction: policy.DirectionSet(1) << (s.Direction - 1),
		Source:    t.Source, Destination: t.Destination, Protocol: t.Protocol,
		SourcePort: t.SourcePort, DestinationPort: t.DestinationPort, ICMPType: t.ICMPType, ICMPCode: t.ICMPCode,
	}
	if s.Name != "" {
		f.Application, f.TLS.ServerName = policy.Is(policy.AppTLS), policy.Is(s.Name)
		if t.Protocol == packet.UDP {
			f.Application = policy.Is(policy.AppQUIC)
		}
	}
	return f
}

// sortedServices are the services in a fixed order.
func (s *Suggestion) sortedServices() []service {
	all := make([]service, 0, len(s.services))
	for k := range s.services {
		all = append(all, k)
	}
	slices.SortFunc(all, compareServices)
	return all
}

func compareServices(a, b service) int {
	return cmp.Or(cmp.Compare(a.direction, b.direction), cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.number, b.number))
}
