package telemetry

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// AppendSpan appends the span of a connection that ended; c is a
// ConnectionEnd. It lasts from the first packet to the last and has the
// attributes of the log record. Its status is Error only where the connection
// was cut: what detect mode would have blocked went through.
func AppendSpan(spans ptrace.SpanSlice, host string, c *Connection) {
	span := spans.AppendEmpty()
	trace, id := SpanIDs(host, c.ID, c.FirstSeen)
	span.SetTraceID(trace)
	span.SetSpanID(id)
	// Names never carry addresses: they would be without number.
	span.SetName("connection " + transportName(c.Tuple.Protocol))
	span.SetKind(ptrace.SpanKindInternal)
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(c.FirstSeen))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(c.FirstSeen.Add(c.Duration())))
	putConnection(span.Attributes(), c)
	if c.Judgement.Verdict == Blocked {
		span.Status().SetCode(ptrace.StatusCodeError)
		span.Attributes().PutStr("error.type", "blocked")
	}
}

// SpanIDs gives the trace and span of the connection with that id, whose first
// packet was seen on that host at that time.
//
// They are derived, not drawn: the span is made when the connection ends, but
// what happens in it (requests, handshakes) must name its parent before that,
// also after a restart of the agent, and without a table of drawn ids. A
// cryptographic hash leaves them as evenly spread as random ones, which
// samplers by trace id rely on (W3C Trace Context level 2, random flag).
func SpanIDs(host string, connection uint64, start time.Time) (pcommon.TraceID, pcommon.SpanID) {
	seed := make([]byte, 0, 96)
	seed = append(seed, "weir connection\x00"...)
	seed = binary.BigEndian.AppendUint64(seed, connection)
	seed = binary.BigEndian.AppendUint64(seed, uint64(start.UnixNano()))
	seed = append(seed, host...)
	sum := sha256.Sum256(seed)
	return pcommon.TraceID(sum[:16]), pcommon.SpanID(sum[16:24])
}
