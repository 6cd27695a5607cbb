package telemetry_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

var everyMetric = telemetry.MetricSet{Verdicts: true, Active: true, Duration: true, IO: true, Packets: true, Rules: true}

func totals() *telemetry.Totals {
	return &telemetry.Totals{
		Since: began, Active: 3,
		Verdicts: []telemetry.VerdictTotal{
			{Verdict: telemetry.Allowed, Action: telemetry.Allow, Reason: telemetry.ReasonRule, Protocol: packet.TCP, Direction: packet.Outbound, Count: 5},
			{Verdict: telemetry.Detected, Protocol: 0, Direction: packet.Forwarded, Count: 2},
		},
		Traffic: []telemetry.TrafficTotal{
			{FromSource: true, Verdict: telemetry.Allowed, Protocol: packet.TCP, Direction: packet.Outbound, Counts: telemetry.Counts{Packets: 12, Bytes: 3120}},
			{Verdict: telemetry.Allowed, Protocol: packet.TCP, Direction: packet.Outbound, Counts: telemetry.Counts{Packets: 40, Bytes: 45000}},
		},
		Rules: []telemetry.RuleTotal{{Rule: "a", Count: 3}, {Rule: "b", Count: 2}, {Rule: "c", Count: 1}, {Rule: "d", Count: 4}},
	}
}

func TestMetrics(t *testing.T) {
	durations := telemetry.NewDurations(began.Add(time.Second))
	many := ended()
	many.Count = 9
	durations.Observe([]telemetry.Connection{connection(telemetry.ConnectionStart), ended(), cut(), many})
	metrics, slice := origin().NewMetrics()
	telemetry.NewMeter(everyMetric, 2).Append(slice, totals(), &telemetry.Counted{Durations: durations}, began.Add(time.Minute))

	path := filepath.Join("testdata", "metrics", "metrics.yaml")
	if *update {
		require.NoError(t, golden.WriteMetricsToFile(path, metrics, golden.SkipMetricTimestampNormalization()))
	}
	want, err := golden.ReadMetrics(path)
	require.NoError(t, err)
	require.NoError(t, pmetrictest.CompareMetrics(want, metrics,
		pmetrictest.IgnoreMetricDataPointsOrder(), pmetrictest.IgnoreMetricsOrder()))
}

func TestMetricsSwitchedOff(t *testing.T) {
	durations := telemetry.NewDurations(began)
	durations.Observe([]telemetry.Connection{ended()})
	_, slice := origin().NewMetrics()
	telemetry.NewMeter(telemetry.MetricSet{}, 2).Append(slice, totals(), &telemetry.Counted{Durations: durations}, began)
	assert.Zero(t, slice.Len())
}

// A series must never fall: rules keep theirs whatever order, or company, they
// come in later.
func TestRuleSeriesAreStable(t *testing.T) {
	meter := telemetry.NewMeter(telemetry.MetricSet{Rules: true}, 2)
	assert.Equal(t, map[string]int64{"a": 3, "b": 2, "": 5}, rules(meter, totals()))

	later := totals()
	later.Rules = []telemetry.RuleTotal{{Rule: "d", Count: 5}, {Rule: "c", Count: 1}, {Rule: "b", Count: 2}, {Rule: "a", Count: 4}}
	assert.Equal(t, map[string]int64{"a": 4, "b": 2, "": 6}, rules(meter, later))
}

// rules maps rules to their values, and the overflow as "".
func rules(meter *telemetry.Meter, totals *telemetry.Totals) map[string]int64 {
	metrics := pmetric.NewMetricSlice()
	meter.Append(metrics, totals, &telemetry.Counted{}, began)
	values := make(map[string]int64)
	points := metrics.At(0).Sum().DataPoints()
	for i := range points.Len() {
		name, _ := points.At(i).Attributes().Get("security_rule.name")
		if _, overflow := points.At(i).Attributes().Get("otel.metric.overflow"); overflow {
			values[""] = points.At(i).IntValue()
			continue
		}
		values[name.Str()] = points.At(i).IntValue()
	}
	return values
}

func TestDurationBuckets(t *testing.T) {
	durations := telemetry.NewDurations(began)
	for _, lasted := range []time.Duration{0, time.Millisecond, 1001 * time.Microsecond, 100 * time.Hour} {
		c := ended()
		c.LastSeen = c.FirstSeen.Add(lasted)
		durations.Observe([]telemetry.Connection{c})
	}
	_, slice := origin().NewMetrics()
	telemetry.NewMeter(telemetry.MetricSet{Duration: true}, 0).Append(slice, &telemetry.Totals{}, &telemetry.Counted{Durations: durations}, began)
	point := slice.At(0).Histogram().DataPoints().At(0)
	counts := point.BucketCounts().AsRaw()
	assert.Equal(t, point.ExplicitBounds().Len()+1, len(counts))
	assert.Equal(t, uint64(2), counts[0], "bounds are inclusive")
	assert.Equal(t, uint64(1), counts[1])
	assert.Equal(t, uint64(1), counts[len(counts)-1])
	assert.Equal(t, uint64(4), point.Count())
	assert.InDelta(t, 360000, point.Max(), 1e-9)
}
