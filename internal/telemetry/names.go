package telemetry

import (
	"strconv"

	"github.com/weirnet/weir/internal/packet"
)

// EventName is the name of the log event that tells of k.
func (k Kind) EventName() string {
	switch k {
	case ConnectionStart:
		return "weir.connection.start"
	case ConnectionVerdict:
		return "weir.connection.verdict"
	case ConnectionUpdate:
		return "weir.connection.update"
	case ConnectionEnd:
		return "weir.connection.end"
	case HTTPRequest:
		return "weir.http.request"
	case TLSHandshake:
		return "weir.tls.handshake"
	case DNSQuery:
		return "weir.dns.query"
	case SSHHandshake:
		return "weir.ssh.handshake"
	}
	return unknown
}

// PolicyChangeEvent is the name of the log event about the policy in force.
const PolicyChangeEvent = "weir.policy.change"

// unknown is the name of a number without a meaning: a newer datapath than
// this package, or a bug; telling is better than guessing.
const unknown = "unknown"

// String is the value of the attribute weir.verdict.
func (v Verdict) String() string {
	switch v {
	case Pending:
		return "pending"
	case Detected:
		return "detected"
	case Allowed:
		return "allowed"
	case Blocked:
		return "blocked"
	}
	return unknown
}

// String is the value of the attributes weir.action and weir.shadow.action;
// NoAction is the empty string, and the attributes are then absent.
func (a Action) String() string {
	switch a {
	case NoAction:
		return ""
	case Allow:
		return "allow"
	case Block:
		return "block"
	}
	return unknown
}

// String is the value of the attribute weir.reason; ReasonNone is the empty
// string, and the attribute is then absent.
func (r Reason) String() string {
	switch r {
	case ReasonNone:
		return ""
	case ReasonRule:
		return "rule"
	case ReasonDefault:
		return "default"
	case ReasonSafeguard:
		return "safeguard"
	case ReasonPending:
		return "pending"
	case ReasonKept:
		return "kept"
	case ReasonMalformed:
		return "error.malformed"
	case ReasonLimit:
		return "error.limit"
	case ReasonOverload:
		return "error.overload"
	case ReasonAgentDown:
		return "error.agent_down"
	case ReasonNotSeen:
		return "error.not_seen"
	}
	return unknown
}

// String is the value of the attribute weir.end_reason; EndNone is the empty
// string.
func (e EndReason) String() string {
	switch e {
	case EndNone:
		return ""
	case EndFIN:
		return "fin"
	case EndRST:
		return "rst"
	case EndTimeout:
		return "timeout"
	case EndBlocked:
		return "blocked"
	case EndPolicy:
		return "policy"
	case EndDuration:
		return "duration"
	case EndEvicted:
		return "evicted"
	}
	return unknown
}

// String is the value of the attribute weir.policy.outcome.
func (c Change) String() string {
	switch c {
	case PolicyLoaded:
		return "loaded"
	case PolicyRefused:
		return "refused"
	case PolicyExpired:
		return "expired"
	case PolicyConfirmed:
		return "confirmed"
	case PolicyRolledBack:
		return "rolled_back"
	}
	return unknown
}

// String is the value of the attribute weir.tls.certificate.source; NoCertificate
// is the empty string.
func (c CertificateSource) String() string {
	switch c {
	case NoCertificate:
		return ""
	case CertificateFromWire:
		return "wire"
	case CertificateFromProbe:
		return "probe"
	case CertificateFromCache:
		return "cache"
	}
	return unknown
}

// modeName is the value of the attribute weir.mode.
func modeName(prevent bool) string {
	if prevent {
		return "prevent"
	}
	return "detect"
}

// transportName is the value of network.transport: the name of the protocols
// that the datapath decodes, the IANA number of others.
func transportName(protocol uint8) string {
	switch protocol {
	case packet.TCP:
		return "tcp"
	case packet.UDP:
		return "udp"
	case packet.ICMP:
		return "icmp"
	case packet.ICMPv6:
		return "icmpv6"
	}
	return strconv.Itoa(int(protocol))
}

// totalTransportName is transportName for the counters, which have 0 for all
// protocols that the datapath does not name.
func totalTransportName(protocol uint8) string {
	if protocol == 0 {
		return "other"
	}
	return transportName(protocol)
}
