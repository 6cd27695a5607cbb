package telemetry

import (
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// The kinds of an Exchange; one log event each (DESIGN section 5).
const (
	HTTPRequest Kind = iota + ConnectionEnd + 1
	TLSHandshake
	DNSQuery
	SSHHandshake
)

// Exchange is one record about what was said inside a connection: a request with
// its response, a handshake, a query with its answer. Exactly one of HTTP, TLS, DNS
// and SSH is set, by Kind. What has no value was not seen.
type Exchange struct {
	Kind Kind
	// Time is that of the packet that completed the request, hello or query;
	// Answered that of the packet that completed the answer (of a handshake: that
	// ended it), zero where none came. Observed is when the record was made.
	Time, Answered, Observed time.Time
	Connection               ConnectionRef
	// Judgement is that of this exchange. Its verdict is not the connection's
	// (DESIGN section 2).
	Judgement Judgement
	// Protocol is the value of network.protocol.name: http, tls, quic, dns or ssh.
	// Version is that of network.protocol.version; of DNS it is empty.
	Protocol, Version string
	// Problem is why it could not be read, or not whole, as a clause for people;
	// empty where nothing is wrong.
	Problem string

	HTTP *HTTPExchange
	TLS  *TLSExchange
	DNS  *DNSExchange
	SSH  *SSHExchange
}

// ConnectionRef is the connection that an exchange is part of.
type ConnectionRef struct {
	ID        uint64
	Tuple     packet.Tuple
	Direction packet.Direction
	Interface string
	// FirstSeen is the time of its first packet: with the ID it gives the ids of its
	// span.
	FirstSeen time.Time
}

// HTTPExchange is a request and its response.
type HTTPExchange struct {
	Method, Scheme string
	// Path is as it was sent, without the query, which HasQuery tells from none.
	Path, Query string
	HasQuery    bool
	// Host is without brackets and port; Port is 0 where none was given.
	Host      string
	Port      uint16
	UserAgent string
	// Headers are those of the request that were asked for, by name in lower case,
	// values in the order sent.
	Headers map[string][]string
	// Status is 0 where no final response came.
	Status uint16
	// Trace is the request's traceparent; zero where there was none to use.
	Trace TraceContext
}

// TraceContext is a W3C traceparent.
type TraceContext struct {
	Valid    bool
	TraceID  [16]byte
	ParentID [8]byte
	Sampled  bool
}

// TLSExchange is a TLS or QUIC handshake.
type TLSExchange struct {
	ServerName string
	// Version is the negotiated one: "1.0" to "1.3", "3.0" for SSL; empty without a
	// ServerHello.
	Version string
	// Cipher is IANA's name of the suite.
	Cipher string
	// NextProtocol is the ALPN protocol that was agreed.
	NextProtocol              string
	Established, Resumed, ECH bool
	JA3, JA4                  string
	Subject, Issuer           string // distinguished names of the leaf, RFC 4514
	NotBefore, NotAfter       time.Time
	SHA256                    string // of the leaf, lower-case hex
	CertificateSource         CertificateSource
}

// CertificateSource says where a certificate was seen.
type CertificateSource uint8

// The sources; NoCertificate where none was.
const (
	NoCertificate CertificateSource = iota
	CertificateFromWire
	CertificateFromProbe
	CertificateFromCache
)

// DNSExchange is a query and its answer.
type DNSExchange struct {
	Name string
	// Type is that of the question: "A", "TYPE65280".
	Type string
	// Answers are the data of the answer's records, as text; filled in only where
	// they are asked for.
	Answers []string
	// ResponseCode is "NOERROR", …; empty where no answer came.
	ResponseCode string
	// Transport is udp or tcp; MDNS and LLMNR are told apart by Service, which is
	// dns, mdns or llmnr.
	Transport, Service string
}

// SSHExchange is what both ends of an SSH connection said in the clear.
type SSHExchange struct {
	ClientSoftware, ServerSoftware string
	// ClientKey is the fingerprint of the key that the client logged in with,
	// HostKey that of the server's: "SHA256:" and unpadded base64.
	ClientKey, HostKey string
	HASSH              string
}
