package flow

import "github.com/weirnet/weir/internal/packet"

// ICMP errors that report a failure. Those that steer traffic (redirect, source
// quench) are connections of their own.
const (
	unreachable      = 3
	timeExceeded     = 11
	parameterProblem = 12
	// lastICMPv6Failure: unreachable, packet too big, time exceeded, parameter
	// problem are 1 to 4.
	lastICMPv6Failure = 4
)

// isRelated says whether p, an ICMP error, belongs to a connection that passes.
// It must go to the end that sent what it quotes: else whoever quotes any
// connection of ours would reach every address with it.
func (t *Tracker) isRelated(p *packet.Packet) bool {
	if !t.version.related || !p.HasQuote || p.Destination != p.Quoted.Source {
		return false
	}
	// ICMP belongs to IPv4, ICMPv6 to IPv6: in the other no host acts on them.
	switch {
	case p.Protocol == packet.ICMPv6 && p.IPVersion == 6 && p.ICMPType <= lastICMPv6Failure:
	case p.Protocol == packet.ICMP && p.IPVersion == 4 && (p.ICMPType == unreachable || p.ICMPType == timeExceeded || p.ICMPType == parameterProblem):
	default:
		return false
	}
	k, _ := keyOfTuple(&p.Quoted, p.QuotedIsReply)
	e := t.table[k]
	return e != nil && !e.drop && e.action != Block
}
