package flow

import "github.com/weirnet/weir/internal/packet"

// The numbers of these are those of bpf/flow.h and of internal/telemetry.
type (
	// Kind says what an event tells.
	Kind uint8
	// Verdict is what became of a connection.
	Verdict uint8
	// Action is what the policy says of it.
	Action uint8
	// Reason says where an action comes from.
	Reason uint8
	// End says why a connection ended.
	End uint8
)

// The kinds, in the order in which they come: the start, changed verdicts and
// updates, the end.
const (
	EventStart Kind = iota + 1
	EventVerdict
	EventUpdate
	EventEnd
)

// The verdicts.
const (
	Pending Verdict = iota
	Detected
	Allowed
	Blocked
)

// The actions.
const (
	NoAction Action = iota
	Allow
	Block
)

// The reasons.
const (
	ReasonNone Reason = iota
	ReasonRule
	ReasonDefault
	ReasonSafeguard
	ReasonPending
	// ReasonKept: what the present policy asks for was not seen; it is as before.
	ReasonKept
	// These come by Settle alone, from on_error.
	ReasonMalformed
	ReasonLimit
	ReasonOverload
	ReasonAgentDown
	ReasonNotSeen
)

// What a connection speaks, as Settle says; the numbers are those of bpf/flow.h.
const (
	ApplicationUnknown uint8 = iota
	ApplicationHTTP
	ApplicationTLS
	ApplicationQUIC
	ApplicationDNS
	ApplicationSSH
	ApplicationOther // none of these
)

// The end reasons.
const (
	EndNone End = iota
	EndFIN
	EndRST
	EndTimeout
	EndBlocked
	EndPolicy
	EndDuration
)

// Event is what is told of a connection. Times are in nanoseconds of the clock
// that Process is given.
type Event struct {
	Kind Kind
	// Time is that of the first packet for EventStart, of the sweep for
	// EventUpdate, else of the last packet.
	Time, First, Last int64
	ID                uint64
	Tuple             packet.Tuple // source is the initiator's end
	Direction         packet.Direction
	Interface         uint32    // of the first packet
	Sent              [2]Counts // by source, destination
	Tables            uint32    // number that Swap returned
	Rule, ShadowRule  uint32    // index into Policy.Walked, or NoRule
	Verdict           Verdict
	Action            Action
	Reason            Reason
	ShadowAction      Action
	// End is valid for EventEnd; of an earlier event it is why the connection is
	// dropped and will end, if it was cut.
	End         End
	Prevent     bool
	Application uint8 // what Settle said; 0: nothing
	Looked      bool  // as Look wants it
}

func (e *entry) tell(kind Kind, time int64, events []Event) []Event {
	return append(events, Event{
		Kind: kind, Time: time, First: e.first, Last: e.last, ID: e.id, Tuple: e.tuple,
		Direction: e.direction, Interface: e.ifindex, Sent: e.counted,
		Tables: e.tables, Rule: e.rule, ShadowRule: e.shadowRule,
		Verdict: e.verdict, Action: e.action, Reason: e.reason, ShadowAction: e.shadowAction,
		End: e.end, Prevent: e.prevent, Application: e.application, Looked: e.looked,
	})
}

// tellDue tells what is due: the start, a changed verdict, the end, in that order.
func (e *entry) tellDue(events []Event) []Event {
	if !e.startTold {
		events = e.tell(EventStart, e.first, events)
		e.startTold, e.verdictDue = true, false
	}
	if e.verdictDue {
		events = e.tell(EventVerdict, e.last, events)
		e.verdictDue = false
	}
	if e.endDue() {
		events = e.tell(EventEnd, e.last, events)
		e.endTold = true
	}
	return events
}

// endDue says whether the end is to be told now.
func (e *entry) endDue() bool { return e.closed && !e.endTold && !e.lingers && !e.awaits }

// finish tells also the end that waited for packets under way, or for Settle.
func (e *entry) finish(events []Event) []Event {
	e.lingers, e.awaits, e.looked = false, false, false
	return e.tellDue(events)
}
