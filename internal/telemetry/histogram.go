package telemetry

import (
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// histogram is a series of a histogram with fixed bounds.
type histogram struct {
	// bounds are the upper ones of the buckets; beyond the last there is one more.
	bounds   []float64
	buckets  []uint64
	count    uint64
	sum      float64
	min, max float64
}

func newHistogram(bounds []float64) *histogram {
	return &histogram{bounds: bounds, buckets: make([]uint64, len(bounds)+1)}
}

func (h *histogram) observe(value float64) {
	if h.count == 0 {
		h.min, h.max = value, value
	}
	bucket, _ := slices.BinarySearch(h.bounds, value)
	h.buckets[bucket]++
	h.count++
	h.sum += value
	h.min = min(h.min, value)
	h.max = max(h.max, value)
}

// appendTo appends a data point and returns its attributes, to be filled in.
func (h *histogram) appendTo(points pmetric.HistogramDataPointSlice, at instant) pcommon.Map {
	point := points.AppendEmpty()
	point.SetStartTimestamp(at.start)
	point.SetTimestamp(at.now)
	point.ExplicitBounds().FromRaw(h.bounds)
	point.BucketCounts().FromRaw(h.buckets)
	point.SetCount(h.count)
	point.SetSum(h.sum)
	point.SetMin(h.min)
	point.SetMax(h.max)
	return point.Attributes()
}

func appendHistogram(metrics pmetric.MetricSlice, name, description string) pmetric.HistogramDataPointSlice {
	metric := metrics.AppendEmpty()
	metric.SetName(name)
	metric.SetUnit("s")
	metric.SetDescription(description)
	h := metric.SetEmptyHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	return h.DataPoints()
}
