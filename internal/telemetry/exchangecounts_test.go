package telemetry_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirnet/weir/internal/telemetry"
)

var exchangeMetrics = telemetry.MetricSet{HTTPRequests: true, DNSQueries: true, DNSDuration: true}

// measure gives what is made of the exchanges that were counted.
func measure(wanted telemetry.MetricSet, counted *telemetry.Exchanges) (pmetric.Metrics, pmetric.MetricSlice) {
	metrics, slice := origin().NewMetrics()
	telemetry.NewMeter(wanted, 0).Append(slice, &telemetry.Totals{}, &telemetry.Counted{Exchanges: counted}, began.Add(time.Minute))
	return metrics, slice
}

func TestExchangeMetrics(t *testing.T) {
	counted := telemetry.NewExchanges(began.Add(time.Second))
	for _, name := range slices.Sorted(maps.Keys(exchanges())) {
		e := exchanges()[name]
		counted.Observe([]telemetry.Exchange{e, e})
	}
	metrics, _ := measure(exchangeMetrics, counted)
	path := filepath.Join("testdata", "exchange_metrics", "metrics.yaml")
	if *update {
		require.NoError(t, golden.WriteMetricsToFile(path, metrics, golden.SkipMetricTimestampNormalization()))
	}
	want, err := golden.ReadMetrics(path)
	require.NoError(t, err)
	require.NoError(t, pmetrictest.CompareMetrics(want, metrics,
		pmetrictest.IgnoreMetricDataPointsOrder(), pmetrictest.IgnoreMetricsOrder()))
}

func TestExchangeMetricsSwitchedOff(t *testing.T) {
	counted := telemetry.NewExchanges(began)
	counted.Observe([]telemetry.Exchange{request(), query()})
	for name, wanted := range map[string]telemetry.MetricSet{
		telemetry.MetricHTTPRequests: {HTTPRequests: true},
		telemetry.MetricDNSQueries:   {DNSQueries: true},
		telemetry.MetricDNSDuration:  {DNSDuration: true},
	} {
		_, slice := measure(wanted, counted)
		require.Equal(t, 1, slice.Len())
		assert.Equal(t, name, slice.At(0).Name())
	}
	_, slice := measure(telemetry.MetricSet{}, counted)
	assert.Zero(t, slice.Len())
}

// However strangers vary what they say, the series are few.
func TestSeriesAreBounded(t *testing.T) {
	counted := telemetry.NewExchanges(began)
	for i := range 1 << 16 {
		r, q := request(), query()
		r.HTTP.Method, r.HTTP.Status, r.HTTP.Path = fmt.Sprintf("M%d", i), uint16(i), fmt.Sprintf("/%d", i)
		q.DNS.Type, q.DNS.Name = fmt.Sprintf("TYPE%d", i), fmt.Sprintf("%d.example.com", i)
		q.DNS.ResponseCode, q.DNS.Service = fmt.Sprintf("RCODE%d", i), fmt.Sprint(i)
		counted.Observe([]telemetry.Exchange{r, q})
	}
	_, slice := measure(exchangeMetrics, counted)
	require.Equal(t, 3, slice.Len())
	points := map[string]int{}
	for i := range slice.Len() {
		metric := slice.At(i)
		if metric.Type() == pmetric.MetricTypeHistogram {
			points[metric.Name()] = metric.Histogram().DataPoints().Len()
			continue
		}
		points[metric.Name()] = metric.Sum().DataPoints().Len()
	}
	assert.Equal(t, 1, points[telemetry.MetricDNSQueries])
	assert.Equal(t, 1, points[telemetry.MetricDNSDuration])
	assert.Less(t, points[telemetry.MetricHTTPRequests], 70, "status codes that have a name")
}

// A client takes a status code that it does not know for the first of its class.
func TestUnknownStatus(t *testing.T) {
	for status, want := range map[uint16]int64{200: 200, 299: 200, 404: 404, 499: 400, 599: 500, 600: 500, 999: 500, 99: 500, 7: 500, 103: 103} {
		counted := telemetry.NewExchanges(began)
		e := request()
		e.HTTP.Status = status
		counted.Observe([]telemetry.Exchange{e})
		_, slice := measure(exchangeMetrics, counted)
		value, _ := slice.At(0).Sum().DataPoints().At(0).Attributes().Get("http.response.status_code")
		assert.Equal(t, want, value.Int(), status)
	}
}

// Only answers have a duration.
func TestDurationOfQueries(t *testing.T) {
	counted := telemetry.NewExchanges(began)
	unanswered := multicastQuery()
	counted.Observe([]telemetry.Exchange{query(), unanswered})
	_, slice := measure(telemetry.MetricSet{DNSDuration: true}, counted)
	points := slice.At(0).Histogram().DataPoints()
	require.Equal(t, 1, points.Len())
	assert.Equal(t, uint64(1), points.At(0).Count())
	assert.InDelta(t, 0.0123, points.At(0).Sum(), 1e-9)
	assert.InDelta(t, 0.0123, points.At(0).Min(), 1e-9)
}

func BenchmarkObserveExchanges(b *testing.B) {
	counted := telemetry.NewExchanges(began)
	batch := []telemetry.Exchange{request(), query(), tlsHandshake()}
	b.ReportAllocs()
	for b.Loop() {
		counted.Observe(batch)
	}
}
