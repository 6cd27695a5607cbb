package telemetry

import (
	"net/netip"
	"time"
)

// Duration is the time from the first packet to the last; of a folded record,
// from the first connection to the last.
func (c *Connection) Duration() time.Duration {
	if c.FirstSeen.IsZero() || !c.LastSeen.After(c.FirstSeen) {
		return 0
	}
	return c.LastSeen.Sub(c.FirstSeen)
}

// Duration is the time from the request, hello or query to its answer; 0 where none
// came. A capture may have them in the wrong order.
func (e *Exchange) Duration() time.Duration {
	if e.Answered.IsZero() || !e.Answered.After(e.Time) {
		return 0
	}
	return e.Answered.Sub(e.Time)
}

// folded says whether the record stands for connections that were counted
// together.
func (c *Connection) folded() bool { return c.Count > 1 || !c.Tuple.Source.IsValid() }

func (c *Connection) isIPv6() bool {
	for _, a := range []netip.Addr{c.Tuple.Source, c.Tuple.Destination} {
		if a.IsValid() {
			return !a.Is4()
		}
	}
	return c.IPv6
}

// counted says whether Source and Destination are valid.
func (c *Connection) counted() bool { return c.Kind != ConnectionStart }

// blocked says whether the connection was blocked, or would be if the policy
// were enforced.
func (j *Judgement) blocked() bool { return j.Verdict == Blocked || j.Action == Block }
