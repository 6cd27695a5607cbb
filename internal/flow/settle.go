package flow

import (
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// Sighting is what the table knows of the connection of a packet, for whoever looks
// into it.
type Sighting struct {
	ID        uint64
	Tuple     packet.Tuple // source is the initiator's end
	Direction packet.Direction
	First     int64
	// End sent the packet: 0 is the source.
	End int
	// Names are those of the destination when the first packet came.
	Names []string
	Own   bool // of Weir's own process
	// Loopback: seen on a loopback interface.
	Loopback bool
	// Midstream: of TCP, neither end's SYN was seen.
	Midstream bool
}

// Seen is the connection of the packet that Process has taken last; false where it
// has none, or one that was judged under other addresses or is told of by its end.
func (t *Tracker) Seen() (Sighting, bool) {
	e := t.seen
	if e == nil || e.follower || e.endTold {
		return Sighting{}, false
	}
	return Sighting{
		ID: e.id, Tuple: e.tuple, Direction: e.direction, First: e.first, End: t.sender, Names: e.names,
		Own: e.own, Loopback: e.loopback,
		Midstream: e.tuple.Protocol == packet.TCP && !e.tcp.of(tcpSYN, source) && !e.tcp.of(tcpSYN, destination),
	}, true
}

// Settlement is what somebody has found out who looked into a connection.
type Settlement struct {
	ID    uint64
	Tuple packet.Tuple
	// Tables is the number of the policy that it was judged by.
	Tables           uint32
	Rule, ShadowRule uint32
	// Action is NoAction while it is still undecided.
	Action       Action
	Reason       Reason
	ShadowAction Action
	// Matched is the shadow rule that decides among all rules, also where it agrees;
	// or NoRule.
	Matched uint32
	// Application is 0 while it is not known.
	Application policy.Application
}

// Settle writes into a connection what was found out, and tells of it where the
// verdict is another. It is void, and false, where the connection is over, or was
// judged by another policy than the one in force.
func (t *Tracker) Settle(s *Settlement, events []Event) ([]Event, bool) {
	k, _ := keyOfTuple(&s.Tuple, false)
	e := t.table[k]
	if e == nil || e.id != s.ID || e.closed {
		return events, false
	}
	if s.Application != 0 {
		e.application = s.Application
	}
	if s.Tables != t.version.tables {
		return events, false
	}
	e.tables, e.judgeAt = s.Tables, 0
	changed := e.action != s.Action || e.reason != s.Reason || e.rule != s.Rule
	matched := NoRule
	if s.Matched != NoRule && (changed || e.shadowRule != s.ShadowRule) {
		matched = s.Matched
	}
	e.shadowRule, e.shadowAction = s.ShadowRule, s.ShadowAction
	if !changed {
		return events, true
	}
	wasBlocked := e.verdict == Blocked
	e.rule, e.action, e.reason = s.Rule, s.Action, s.Reason
	if !t.version.empty {
		var rule *policy.Rule
		if s.Rule != NoRule {
			rule = &t.version.walked[s.Rule]
		}
		t.version.enforce(e, rule)
	}
	e.end = EndNone
	if e.verdict == Blocked && !wasBlocked {
		e.end = EndBlocked
	}
	t.countJudgement(e, decision{s.Rule, matched})
	e.verdictDue = true
	return e.tellDue(events), true
}
