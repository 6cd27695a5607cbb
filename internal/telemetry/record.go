// Package telemetry holds the records that the engine hands out and turns them
// into OpenTelemetry data.
package telemetry

import (
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// Kind says what a record tells.
type Kind uint8

// The kinds; one log event each (DESIGN section 5).
const (
	ConnectionStart Kind = iota + 1
	ConnectionVerdict
	ConnectionUpdate
	ConnectionEnd
)

// Verdict is what became of a connection.
type Verdict uint8

// The verdicts; the numbers are those of bpf/flow.h.
const (
	Pending Verdict = iota
	Detected
	Allowed
	Blocked
)

// Action is what the policy says of a connection, enforced or not.
type Action uint8

// The actions; NoAction where no rules are in force or the walk is undecided.
const (
	NoAction Action = iota
	Allow
	Block
)

// Reason says where an action comes from.
type Reason uint8

// The reasons; the numbers are those of bpf/flow.h. ReasonNone goes with
// NoAction of a policy without rules.
const (
	ReasonNone Reason = iota
	ReasonRule
	ReasonDefault
	ReasonSafeguard
	ReasonPending
	ReasonKept
	ReasonMalformed
	ReasonLimit
	ReasonOverload
	ReasonAgentDown
	ReasonNotSeen
)

// EndReason says why a connection ended.
type EndReason uint8

// The end reasons; the numbers are those of bpf/flow.h.
const (
	EndNone EndReason = iota
	EndFIN
	EndRST
	EndTimeout
	EndBlocked
	EndPolicy
	EndDuration
	EndEvicted
)

// Connection is one record about one connection.
type Connection struct {
	Kind Kind
	// Time is when the kernel saw the event; Observed when user space read it.
	Time, Observed time.Time
	// ID is unique among the connections of a host.
	ID        uint64
	Tuple     packet.Tuple
	Direction packet.Direction
	// Interface is the name of the interface that carried the first packet.
	Interface string
	// Protocol is the value of network.protocol.name: http, tls, quic, dns or ssh;
	// empty where it is not known, or another.
	Protocol  string
	Judgement Judgement
	// FirstSeen is the time of the first packet, LastSeen that of the last.
	FirstSeen, LastSeen time.Time
	// End is valid for ConnectionEnd.
	End EndReason
	// Source and Destination count what each end sent so far; valid for
	// ConnectionVerdict, ConnectionUpdate and ConnectionEnd.
	Source, Destination Counts
	// Count is the number of connections this record stands for. Those of a
	// flood are folded: the tuple then has what they have in common, and lacks
	// addresses that differ.
	Count uint64
	// IPv6 is the address family where neither address is there to tell.
	IPv6 bool
}

// Counts are the packets and IP bytes one end sent; the segments of a
// superpacket (GSO, GRO) are counted one by one, each with its headers.
type Counts struct{ Packets, Bytes uint64 }

// Judgement is what the policy in force said of a connection, or of an exchange in
// it.
type Judgement struct {
	// Rule is empty when no rule decided.
	Rule string
	// Generation is that of the policy that judged; 0 without a policy.
	Generation uint64
	Verdict    Verdict
	Action     Action
	// Prevent tells the mode that was in force.
	Prevent bool
	Reason  Reason
	// ShadowRule and ShadowAction are set where the shadow walk differs.
	ShadowRule   string
	ShadowAction Action
}

// PolicyChange is one record about the policy in force.
type PolicyChange struct {
	Time       time.Time
	Change     Change
	Generation uint64
	// Source names the file, or the key path of an inline policy.
	Source string
	// Detail is one readable line: the error, or what changed.
	Detail string
}

// Change says what happened to the policy.
type Change uint8

// The changes.
const (
	PolicyLoaded Change = iota + 1
	PolicyRefused
	PolicyExpired
	PolicyConfirmed
	PolicyRolledBack
)

// Totals is a snapshot of the counters that metrics are made of. All counters
// run from Since.
type Totals struct {
	Since    time.Time
	Verdicts []VerdictTotal
	Active   uint64
	Traffic  []TrafficTotal
	Rules    []RuleTotal
}

// Blocked are the connections that were blocked, and those that were let through in
// mode detect and that prevent would have blocked.
func (t *Totals) Blocked() (blocked, wouldBlock uint64) {
	for _, v := range t.Verdicts {
		switch {
		case v.Verdict == Blocked:
			blocked += v.Count
		case v.Action == Block:
			wouldBlock += v.Count
		}
	}
	return blocked, wouldBlock
}

// VerdictTotal counts connections by what became of them.
type VerdictTotal struct {
	Verdict   Verdict
	Action    Action
	Reason    Reason
	Protocol  uint8 // IP protocol number, 0 for those the datapath does not name
	Direction packet.Direction
	Count     uint64
}

// TrafficTotal counts packets and IP bytes.
type TrafficTotal struct {
	FromSource bool // sent by the initiator's end
	Verdict    Verdict
	Protocol   uint8
	Direction  packet.Direction
	Counts
}

// RuleTotal counts the connections that a rule decided (shadow rules: would
// have decided).
type RuleTotal struct {
	Rule  string
	Count uint64
}
