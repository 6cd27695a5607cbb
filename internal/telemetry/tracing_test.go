package telemetry_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/ptracetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

// spanOf is the span of e, with an id that is always the same.
func spanOf(t *testing.T, tracing telemetry.Tracing, e telemetry.Exchange) (ptrace.Traces, ptrace.Span) {
	t.Helper()
	require.True(t, tracing.WantsExchange(&e))
	traces, spans := origin().NewTraces()
	tracing.AppendExchange(spans, origin().Host, &e)
	require.False(t, spans.At(0).SpanID().IsEmpty())
	spans.At(0).SetSpanID(pcommon.SpanID{7: 1})
	return traces, spans.At(0)
}

func TestExchangeSpans(t *testing.T) {
	for name, e := range exchanges() {
		t.Run(name, func(t *testing.T) {
			traces, _ := spanOf(t, telemetry.Tracing{All: true}, e)
			path := filepath.Join("testdata", name, "traces.yaml")
			if *update {
				require.NoError(t, golden.WriteTracesToFile(path, traces))
			}
			want, err := golden.ReadTraces(path)
			require.NoError(t, err)
			require.NoError(t, ptracetest.CompareTraces(want, traces))
			// CompareTraces does not look at them.
			wanted := want.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
			got := traces.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
			assert.Equal(t, wanted.Flags(), got.Flags())
		})
	}
}

func TestSpanNames(t *testing.T) {
	want := map[string]string{
		"http": "GET", "http_full": "GET", "http_blocked": "HTTP", "http_malformed": "HTTP",
		"tls": "tls handshake", "quic": "quic handshake", "ssl": "tls handshake", "ssh": "ssh handshake",
		"dns": "dns query", "dns_answers": "dns query", "dns_blocked": "dns query", "mdns": "mdns query",
	}
	for name, e := range exchanges() {
		_, span := spanOf(t, telemetry.Tracing{All: true}, e)
		assert.Equal(t, want[name], span.Name())
		assert.Equal(t, ptrace.SpanKindInternal, span.Kind())
	}
}

func TestSpanTimes(t *testing.T) {
	e := request()
	_, span := spanOf(t, telemetry.Tracing{All: true}, e)
	assert.Equal(t, e.Time, span.StartTimestamp().AsTime())
	assert.Equal(t, e.Answered, span.EndTimestamp().AsTime())
	e.Answered = time.Time{}
	_, span = spanOf(t, telemetry.Tracing{All: true}, e)
	assert.Equal(t, e.Time, span.EndTimestamp().AsTime(), "without an answer it has no length")
}

// Where a span stands, by the settings, what became of the request, and what it
// said of its trace.
func TestPlacesOfSpans(t *testing.T) {
	sampled := telemetry.TraceContext{Valid: true, Sampled: true, TraceID: [16]byte{1}, ParentID: [8]byte{2}}
	unsampled := sampled
	unsampled.Sampled = false
	ownTrace, connectionSpan := telemetry.SpanIDs(origin().Host, request().Connection.ID, began)

	const (
		none    = "none"
		child   = "child of the connection"
		beside  = "beside the connection"
		request = "in the request's trace"
	)
	type setting struct {
		all   bool
		trust telemetry.TraceTrust
	}
	for _, c := range []struct {
		name     string
		setting  setting
		exchange telemetry.Exchange
		trace    telemetry.TraceContext
		want     string
		forward  bool // direction
	}{
		{"default, allowed", setting{}, fullRequest(), telemetry.TraceContext{}, none, false},
		{"default, blocked", setting{}, withheldRequest(), telemetry.TraceContext{}, child, false},
		{"default, would be blocked", setting{}, malformedRequest(), telemetry.TraceContext{}, none, false},
		{"default, in a trace", setting{}, fullRequest(), sampled, request, false},
		{"default, blocked in a trace", setting{}, withheldRequest(), sampled, request, false},
		{"default, not sampled", setting{}, fullRequest(), unsampled, none, false},
		{"default, blocked and not sampled", setting{}, withheldRequest(), unsampled, child, false},
		{"default, forwarded in a trace", setting{}, fullRequest(), sampled, none, true},
		{"default, handshake", setting{}, tlsHandshake(), telemetry.TraceContext{}, none, false},
		{"default, query", setting{}, query(), telemetry.TraceContext{}, none, false},
		{"default, query dropped", setting{}, droppedQuery(), telemetry.TraceContext{}, beside, false},
		{"all", setting{all: true}, fullRequest(), telemetry.TraceContext{}, child, false},
		{"all, query dropped", setting{all: true}, droppedQuery(), telemetry.TraceContext{}, child, false},
		{"all, in a trace", setting{all: true}, fullRequest(), sampled, request, false},
		{"all, not sampled", setting{all: true}, fullRequest(), unsampled, none, false},
		{"all, forwarded in a trace", setting{all: true}, fullRequest(), sampled, child, true},
		{"all, forwarded and not sampled", setting{all: true}, fullRequest(), unsampled, child, true},
		{"trust all, forwarded", setting{trust: telemetry.TrustAll}, fullRequest(), sampled, request, true},
		{"trust none", setting{trust: telemetry.TrustNone}, fullRequest(), sampled, none, false},
		{"trust none, all", setting{all: true, trust: telemetry.TrustNone}, fullRequest(), unsampled, child, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := c.exchange
			if e.HTTP != nil {
				e.HTTP.Trace = c.trace
			}
			if c.forward {
				e.Connection.Direction = packet.Forwarded
			}
			tracing := telemetry.Tracing{All: c.setting.all, Trust: c.setting.trust}
			if c.want == none {
				assert.False(t, tracing.WantsExchange(&e))
				return
			}
			_, span := spanOf(t, tracing, e)
			links := span.Links().Len()
			switch c.want {
			case child:
				assert.Equal(t, ownTrace, span.TraceID())
				assert.Equal(t, connectionSpan, span.ParentSpanID())
				assert.Zero(t, links)
			case beside:
				assert.Equal(t, ownTrace, span.TraceID())
				assert.True(t, span.ParentSpanID().IsEmpty())
				assert.Zero(t, links)
			case request:
				assert.Equal(t, pcommon.TraceID(c.trace.TraceID), span.TraceID())
				assert.Equal(t, pcommon.SpanID(c.trace.ParentID), span.ParentSpanID())
				assert.EqualValues(t, 0x301, span.Flags(), "sampled, and from elsewhere")
				require.Equal(t, 1, links)
				assert.Equal(t, ownTrace, span.Links().At(0).TraceID())
				assert.Equal(t, connectionSpan, span.Links().At(0).SpanID())
			}
			blocked := e.Judgement.Verdict == telemetry.Blocked
			assert.Equal(t, blocked, span.Status().Code() == ptrace.StatusCodeError)
			_, present := span.Attributes().Get("error.type")
			assert.Equal(t, blocked, present)
		})
	}
}

// Requests in one packet have spans of their own.
func TestSpanIDsDiffer(t *testing.T) {
	_, spans := origin().NewTraces()
	seen := make(map[pcommon.SpanID]bool)
	e := request()
	for i := range 100 {
		telemetry.Tracing{All: true}.AppendExchange(spans, "", &e)
		seen[spans.At(i).SpanID()] = true
	}
	assert.Len(t, seen, 100)
}

// A response that reports an error is one: nothing was withheld.
func TestErrorStatusIsNoError(t *testing.T) {
	e := request()
	e.HTTP.Status = 503
	_, span := spanOf(t, telemetry.Tracing{All: true}, e)
	assert.Equal(t, ptrace.StatusCodeUnset, span.Status().Code())
}

func BenchmarkAppendExchangeSpan(b *testing.B) {
	for name, e := range exchanges() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			tracing := telemetry.Tracing{All: true}
			_, spans := origin().NewTraces()
			for b.Loop() {
				if spans.Len() == 512 {
					_, spans = origin().NewTraces()
				}
				tracing.AppendExchange(spans, "host-1", &e)
			}
		})
	}
}
