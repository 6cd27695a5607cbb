package telemetry

import (
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/weirnet/weir/internal/packet"
)

// Tracing says what becomes a span, and in which trace.
type Tracing struct {
	// All: every connection and every exchange; otherwise those that were blocked,
	// and requests whose trace is trusted.
	All   bool
	Trust TraceTrust
}

// TraceTrust says whose traceparent is believed.
type TraceTrust uint8

// The trusts. A stranger who is believed can write into any trace of which he
// knows or guesses the id, and have spans made at will: so by default only what
// this host sends is.
const (
	TrustOutbound TraceTrust = iota
	TrustAll
	TrustNone
)

func (t TraceTrust) covers(d packet.Direction) bool {
	return t == TrustAll || t == TrustOutbound && d == packet.Outbound
}

// WantsConnection says whether c becomes a span.
func (t Tracing) WantsConnection(c *Connection) bool {
	return c.Kind == ConnectionEnd && (t.All || c.Judgement.Verdict == Blocked)
}

// WantsExchange says whether e becomes a span.
func (t Tracing) WantsExchange(e *Exchange) bool { return t.place(e) != nowhere }

// place is where the span of an exchange stands.
type place uint8

const (
	nowhere place = iota
	// inRequest: in the trace that the request belongs to, with a link to the
	// connection's span.
	inRequest
	// inConnection: below the connection's span.
	inConnection
	// besideConnection: in its trace, below nothing.
	besideConnection
)

// place decides. A span whose parent is never made shows as a broken trace, so
// below a connection's span stands only what has one; a link breaks nothing.
func (t Tracing) place(e *Exchange) place {
	blocked := e.Judgement.Verdict == Blocked
	if e.HTTP != nil && e.HTTP.Trace.Valid && t.Trust.covers(e.Connection.Direction) {
		if e.HTTP.Trace.Sampled {
			return inRequest
		}
		// Whoever began the trace decided against it. That does not hide what was
		// blocked.
		if !blocked {
			return nowhere
		}
	}
	switch {
	case t.All:
		return inConnection
	case !blocked:
		return nowhere
	case e.Kind == DNSQuery:
		// Only the query was dropped: the connection is none of the blocked ones.
		return besideConnection
	}
	return inConnection // which was cut because of it
}

// Flags of spans and links (OTLP): the W3C trace flags, and whether the context
// that is referred to came from elsewhere.
const (
	flagSampled     = 0x001
	flagHasIsRemote = 0x100
	flagIsRemote    = 0x200
)

// AppendExchange appends the span of an exchange that is wanted. It lasts from the
// request, hello or query to its answer and has the attributes of the log record.
// Its status is Error only where it was withheld: a response that reports an error
// is one, and what detect mode would have blocked went through.
func (t Tracing) AppendExchange(spans ptrace.SpanSlice, host string, e *Exchange) {
	c := &e.Connection
	trace, parent := SpanIDs(host, c.ID, c.FirstSeen)
	span := spans.AppendEmpty()
	span.SetSpanID(newSpanID())
	switch t.place(e) {
	case inRequest:
		link := span.Links().AppendEmpty()
		link.SetTraceID(trace)
		link.SetSpanID(parent)
		link.SetFlags(flagHasIsRemote)
		span.SetTraceID(e.HTTP.Trace.TraceID)
		span.SetParentSpanID(e.HTTP.Trace.ParentID)
		span.SetFlags(flagSampled | flagHasIsRemote | flagIsRemote)
	case besideConnection:
		span.SetTraceID(trace)
	default:
		span.SetTraceID(trace)
		span.SetParentSpanID(parent)
		span.SetFlags(flagSampled | flagHasIsRemote)
	}
	span.SetName(e.spanName())
	span.SetKind(ptrace.SpanKindInternal)
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(e.Time))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(e.Time.Add(e.Duration())))
	putExchange(span.Attributes(), e)
	if e.Judgement.Verdict == Blocked {
		span.Status().SetCode(ptrace.StatusCodeError)
		span.Attributes().PutStr("error.type", "blocked")
	}
}

// spanName never has what peers can choose at will.
func (e *Exchange) spanName() string {
	switch e.Kind {
	case HTTPRequest:
		if e.HTTP != nil {
			if method := knownMethod(e.HTTP.Method); method != otherMethod {
				return method
			}
		}
		return "HTTP" // as the conventions have it
	case TLSHandshake:
		if e.Protocol == "quic" {
			return "quic handshake"
		}
		return "tls handshake"
	case DNSQuery:
		if e.DNS != nil {
			return knownService(e.DNS.Service) + " query"
		}
		return "dns query"
	case SSHHandshake:
		return "ssh handshake"
	}
	return unknown
}

// newSpanID draws an id. Unlike a connection's nobody has to know it beforehand, and
// nothing tells apart two requests in one packet.
func newSpanID() (id pcommon.SpanID) {
	for id.IsEmpty() {
		binary.BigEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
