package policy

import (
	"net/netip"
	"strings"
	"time"
)

// State says what is known of a fact.
type State uint8

// The states. The zero value is Unknown, so that facts nobody has spoken of may
// still come.
const (
	Unknown      State = iota // it may still come
	Known                     // Value holds it
	Absent                    // it cannot exist here
	Unobtainable              // it can no longer become known; Cause says why
)

// Cause says why a fact cannot be had. Where several facts of a rule are
// unobtainable the lowest cause speaks for the rule, so NotSeen does only where
// nothing else is wrong.
type Cause uint8

// The causes.
const (
	Malformed Cause = iota + 1
	Limit
	Overload
	AgentDown
	NotSeen
)

// String is the key of on_error.
func (c Cause) String() string {
	switch c {
	case Malformed:
		return "malformed"
	case Limit:
		return "limit"
	case Overload:
		return "overload"
	case AgentDown:
		return "agent_down"
	case NotSeen:
		return "not_seen"
	}
	return ""
}

// Fact is a fact in one of its four states.
type Fact[T any] struct {
	State State
	// Cause is valid where State is Unobtainable.
	Cause Cause
	// Value is valid where State is Known.
	Value T
}

// Is is a known fact.
func Is[T any](value T) Fact[T] { return Fact[T]{State: Known, Value: value} }

// Lost is a fact that cannot be had.
func Lost[T any](cause Cause) Fact[T] { return Fact[T]{State: Unobtainable, Cause: cause} }

// Missing is a fact that cannot exist here.
func Missing[T any]() Fact[T] { return Fact[T]{State: Absent} }

// Application is the application protocol, as bits: DNS over TLS is both.
type Application uint8

// The application protocols. AppOther is any that Weir does not know.
const (
	AppHTTP Application = 1 << iota
	AppTLS
	AppQUIC
	AppDNS
	AppSSH
	AppOther
)

// Facts are what is known of a connection, and of the request or query that is
// judged. The first part comes with the packet and is always known; all of the
// second is unknown in the zero value.
type Facts struct {
	// Now is the time of the judgement: for expired rules and certificates. Zero
	// means that no rule has expired.
	Now time.Time
	// Direction is one of Inbound, Outbound and Forwarded.
	Direction   DirectionSet
	Source      netip.Addr
	Destination netip.Addr
	// Protocol is the IP protocol number.
	Protocol uint8
	// SourcePort and DestinationPort are valid for TCP and UDP.
	SourcePort, DestinationPort uint16
	// ICMPType and ICMPCode are valid for ICMP and ICMPv6.
	ICMPType, ICMPCode uint8
	// Age is the time since the connection's first packet.
	Age time.Duration
	// Loopback: seen on a loopback interface.
	Loopback bool
	// HopLimit is that of the packet, valid for IPv6.
	HopLimit uint8
	// OwnSocket: a socket of Weir's own process.
	OwnSocket bool
	// QuotesAllowed: an ICMP error that quotes an allowed connection.
	QuotesAllowed bool
	// Kept: the connection was already allowed, or was open when Weir first
	// attached.
	Kept bool
	// Names are what DNS had answered the destination address for when the first
	// packet came.
	Names []string

	// Application is known once the initiator's bytes settle it; of TLS only when
	// the ClientHello is complete, since its ALPN tells DNS over TLS. Facts of
	// protocols that it excludes need not be set: they count as absent; where it is
	// unobtainable, all others are.
	Application Fact[Application]
	HTTP        HTTPFacts
	TLS         TLSFacts
	DNS         DNSFacts
	SSH         SSHFacts
}

// HTTPFacts are those of one request.
type HTTPFacts struct {
	// Host has no port.
	Host Fact[string]
	// Path is normalized; PathFact makes it.
	Path   Fact[string]
	Method Fact[string]
	// Headers are by name in lower case.
	Headers Fact[map[string][]string]
	// Version is "1.0", "1.1" or "2".
	Version Fact[string]
}

// TLSFacts are those of a TLS or QUIC handshake.
type TLSFacts struct {
	// ServerName is the outer one.
	ServerName Fact[string]
	// Version is the negotiated one: "1.0" to "1.3".
	Version     Fact[string]
	ECH         Fact[bool]
	Certificate Fact[CertificateFacts]
}

// CertificateFacts are what the criteria ask of a chain.
type CertificateFacts struct {
	// SubjectNames are the leaf's CN and SANs.
	SubjectNames []string
	// IssuerNames and IssuerOrganizations are those of every issuer in the chain.
	IssuerNames, IssuerOrganizations []string
	// AuthoritySHA256 are the fingerprints of the chain's authorities, lower-case
	// hex.
	AuthoritySHA256     []string
	NotBefore, NotAfter time.Time
	SelfSigned          bool
}

// DNSFacts are those of one query; whether it came by UDP, TCP or TLS follows
// from the transport and from Application.
type DNSFacts struct {
	Name Fact[string]
	Type Fact[uint16]
}

// SSHFacts are those of an SSH handshake.
type SSHFacts struct {
	// PublicKey is the fingerprint of the key the client logged in with.
	PublicKey Fact[string]
	// Software is what the server calls itself.
	Software Fact[string]
}

// FactSet is a set of facts that a judgement waits for.
type FactSet uint16

// The facts that can be wanted.
const (
	WantApplication FactSet = 1 << iota
	WantHTTPHost
	WantHTTPPath
	WantHTTPMethod
	WantHTTPHeaders
	WantHTTPVersion
	WantTLSServerName
	WantTLSVersion
	WantTLSECH
	WantTLSCertificate
	WantDNSName
	WantDNSType
	WantSSHPublicKey
	WantSSHSoftware
)

var factNames = [...]string{
	"application", "http.host", "http.path", "http.method", "http.headers", "http.version",
	"tls.server_name", "tls.version", "tls.ech", "tls.certificate", "dns.name", "dns.type",
	"ssh.public_key", "ssh.software",
}

// String lists the facts, separated by commas.
func (s FactSet) String() string {
	var names []string
	for i, name := range factNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Stage says which bytes a fact needs (DESIGN section 2).
type Stage uint8

// The stages.
const (
	StagePacket  Stage = iota // none but the packet that is judged
	StageOpening              // the initiator's first bytes
	StageAnswer               // the peer's bytes
	StageLate                 // bytes of both ends, later on
)

// Stage is the earliest stage of the facts: while a fact of an early stage is
// out, no bytes need pass for those of a later one, since it may settle the
// rule. Of the empty set it is StagePacket.
func (s FactSet) Stage() Stage {
	const answer = WantTLSVersion | WantTLSCertificate | WantSSHSoftware
	switch {
	case s == 0:
		return StagePacket
	case s&^(answer|WantSSHPublicKey) != 0:
		return StageOpening
	case s&answer != 0:
		return StageAnswer
	}
	return StageLate
}
