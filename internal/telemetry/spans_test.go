package telemetry_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/ptracetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/weirnet/weir/internal/telemetry"
)

func TestSpans(t *testing.T) {
	for name, c := range map[string]telemetry.Connection{"end": ended(), "blocked": cut()} {
		t.Run(name, func(t *testing.T) {
			traces, spans := origin().NewTraces()
			telemetry.AppendSpan(spans, origin().Host, &c)
			path := filepath.Join("testdata", name, "traces.yaml")
			if *update {
				require.NoError(t, golden.WriteTracesToFile(path, traces))
			}
			want, err := golden.ReadTraces(path)
			require.NoError(t, err)
			require.NoError(t, ptracetest.CompareTraces(want, traces))
		})
	}
}

// What detect mode would have blocked went through: no error.
func TestSpanOfWouldBeBlocked(t *testing.T) {
	c := ended()
	c.Judgement.Verdict, c.Judgement.Action, c.Judgement.Prevent = telemetry.Detected, telemetry.Block, false
	_, spans := origin().NewTraces()
	telemetry.AppendSpan(spans, "", &c)
	assert.Equal(t, ptrace.StatusCodeUnset, spans.At(0).Status().Code())
	_, present := spans.At(0).Attributes().Get("error.type")
	assert.False(t, present)
}

func TestSpanIDs(t *testing.T) {
	trace, span := telemetry.SpanIDs("host-1", 1, began)
	again, spanAgain := telemetry.SpanIDs("host-1", 1, began)
	assert.Equal(t, trace, again)
	assert.Equal(t, span, spanAgain)
	assert.False(t, trace.IsEmpty())
	for name, other := range map[string]func() ([16]byte, [8]byte){
		"host":       func() ([16]byte, [8]byte) { a, b := telemetry.SpanIDs("host-2", 1, began); return a, b },
		"connection": func() ([16]byte, [8]byte) { a, b := telemetry.SpanIDs("host-1", 2, began); return a, b },
		"start": func() ([16]byte, [8]byte) {
			a, b := telemetry.SpanIDs("host-1", 1, began.Add(time.Nanosecond))
			return a, b
		},
	} {
		otherTrace, otherSpan := other()
		assert.NotEqual(t, [16]byte(trace), otherTrace, name)
		assert.NotEqual(t, [8]byte(span), otherSpan, name)
	}
}
