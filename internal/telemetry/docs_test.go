package telemetry_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirnet/weir/internal/telemetry"
)

// documented is a record as docs/output.md shows it: its body, and the attributes
// that only records of its kind have.
func documented(e telemetry.Exchange) string {
	_, records := origin().NewLogs()
	telemetry.AppendExchangeLog(records, &e)
	var page strings.Builder
	fmt.Fprintf(&page, "%s\n", records.At(0).Body().Str())
	own := false
	for key, value := range records.At(0).Attributes().All() {
		if own {
			fmt.Fprintf(&page, "  %-40s %s\n", key, documentedValue(value))
		}
		own = own || key == "security_rule.version"
	}
	return page.String()
}

func documentedValue(value pcommon.Value) string {
	if value.Type() == pcommon.ValueTypeSlice {
		return strings.ReplaceAll(value.AsString(), ",", ", ")
	}
	return value.AsString()
}

// documentedPoint is a data point as docs/output.md shows it.
func documentedPoint(name string, attributes pcommon.Map, value string) string {
	var parts []string
	for key, value := range attributes.All() {
		parts = append(parts, key+"="+value.AsString())
	}
	return fmt.Sprintf("%s{%s} %s\n", name, strings.Join(parts, ", "), value)
}

// The examples of docs/output.md are what comes out.
func TestDocumentedOutput(t *testing.T) {
	content, err := os.ReadFile("../../docs/output.md")
	require.NoError(t, err)
	page := string(content)
	for _, e := range []telemetry.Exchange{fullRequest(), withheldRequest(), tlsHandshake(), answeredQuery(), sshHandshake()} {
		assert.Contains(t, page, documented(e))
	}
	for _, c := range []telemetry.Connection{
		connection(telemetry.ConnectionStart), icmp(), connection(telemetry.ConnectionVerdict), connection(telemetry.ConnectionUpdate), ended(), flood(),
	} {
		assert.Contains(t, page, c.Line()+"\n")
	}

	counted := telemetry.NewExchanges(began)
	counted.Observe([]telemetry.Exchange{request(), query()})
	durations := telemetry.NewDurations(began)
	durations.Observe([]telemetry.Connection{ended()})
	totals := totals()
	totals.Verdicts, totals.Traffic, totals.Rules = totals.Verdicts[:1], totals.Traffic[:1], totals.Rules[:1]
	every := everyMetric
	every.HTTPRequests, every.DNSQueries, every.DNSDuration = true, true, true
	metrics := pmetric.NewMetricSlice()
	telemetry.NewMeter(every, 10).Append(metrics, totals, &telemetry.Counted{Durations: durations, Exchanges: counted}, began.Add(time.Minute))
	require.Equal(t, 9, metrics.Len())
	for i := range metrics.Len() {
		switch metric := metrics.At(i); metric.Type() {
		case pmetric.MetricTypeHistogram:
			point := metric.Histogram().DataPoints().At(0)
			assert.Contains(t, page, documentedPoint(metric.Name(), point.Attributes(), fmt.Sprintf("count=%d sum=%g", point.Count(), point.Sum())))
		default:
			point := metric.Sum().DataPoints().At(0)
			assert.Contains(t, page, documentedPoint(metric.Name(), point.Attributes(), fmt.Sprint(point.IntValue())))
		}
	}
}
