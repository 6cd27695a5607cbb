package telemetry

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// Names of the metrics.
const (
	MetricVerdicts = "weir.connection.verdicts"
	MetricActive   = "weir.connection.active"
	MetricDuration = "weir.connection.duration"
	MetricIO       = "weir.connection.io"
	MetricPackets  = "weir.connection.packets"
	MetricRules    = "weir.rule.matches"

	MetricHTTPRequests = "weir.http.requests"
	MetricDNSQueries   = "weir.dns.queries"
	MetricDNSDuration  = "weir.dns.duration"
)

// MetricSet says which metrics are wanted.
type MetricSet struct {
	Verdicts, Active, Duration, IO, Packets, Rules bool
	HTTPRequests, DNSQueries, DNSDuration          bool
}

// Meter turns snapshots of the counters into metrics. It is for one goroutine.
type Meter struct {
	wanted   MetricSet
	maxRules int
	// rules are those with a series of their own.
	rules map[string]struct{}
}

// NewMeter makes a Meter that gives at most maxRules rules a series of their
// own.
func NewMeter(wanted MetricSet, maxRules int) *Meter {
	return &Meter{wanted: wanted, maxRules: maxRules, rules: make(map[string]struct{})}
}

// Append appends the metrics made of a snapshot taken at now. All are
// cumulative from totals.Since; what this process alone counted, counts, has a
// start of its own.
func (m *Meter) Append(metrics pmetric.MetricSlice, totals *Totals, counts *Counted, now time.Time) {
	at := instant{pcommon.NewTimestampFromTime(totals.Since), pcommon.NewTimestampFromTime(now)}
	if m.wanted.Verdicts && len(totals.Verdicts) > 0 {
		m.appendVerdicts(metrics, totals.Verdicts, at)
	}
	if m.wanted.Active {
		points := appendSum(metrics, MetricActive, "{connection}", "Connections in the flow table now.", false)
		at.add(points, totals.Active)
	}
	if m.wanted.Duration {
		counts.Durations.append(metrics, now)
	}
	if m.wanted.IO && len(totals.Traffic) > 0 {
		points := appendSum(metrics, MetricIO, "By", "IP bytes sent in connections.", true)
		for i := range totals.Traffic {
			traffic := &totals.Traffic[i]
			putTraffic(at.add(points, traffic.Bytes), traffic)
		}
	}
	if m.wanted.Packets && len(totals.Traffic) > 0 {
		points := appendSum(metrics, MetricPackets, "{packet}", "Packets sent in connections; segments are counted one by one.", true)
		for i := range totals.Traffic {
			traffic := &totals.Traffic[i]
			putTraffic(at.add(points, traffic.Packets), traffic)
		}
	}
	if m.wanted.Rules && len(totals.Rules) > 0 {
		m.appendRules(metrics, totals.Rules, at)
	}
	if m.wanted.HTTPRequests || m.wanted.DNSQueries || m.wanted.DNSDuration {
		counts.Exchanges.append(metrics, m.wanted, now)
	}
}

// Counted is what is counted in user space. What no metric is made of may be nil.
type Counted struct {
	Durations *Durations
	Exchanges *Exchanges
}

func (m *Meter) appendVerdicts(metrics pmetric.MetricSlice, totals []VerdictTotal, at instant) {
	points := appendSum(metrics, MetricVerdicts, "{connection}", "Connections by what became of them.", true)
	for i := range totals {
		total := &totals[i]
		attributes := at.add(points, total.Count)
		attributes.PutStr("weir.verdict", total.Verdict.String())
		if total.Action != NoAction {
			attributes.PutStr("weir.action", total.Action.String())
		}
		if total.Reason != ReasonNone {
			attributes.PutStr("weir.reason", total.Reason.String())
		}
		attributes.PutStr("network.transport", totalTransportName(total.Protocol))
		attributes.PutStr("weir.direction", total.Direction.String())
	}
}

func putTraffic(attributes pcommon.Map, total *TrafficTotal) {
	sender := "destination"
	if total.FromSource {
		sender = "source"
	}
	attributes.PutStr("weir.sender", sender)
	attributes.PutStr("network.transport", totalTransportName(total.Protocol))
	attributes.PutStr("weir.direction", total.Direction.String())
	attributes.PutStr("weir.verdict", total.Verdict.String())
}

// appendRules gives each rule a series, up to the limit; the rest share one. A
// rule that once has a series keeps it, and one that once shared goes on
// sharing, so that no series ever falls.
func (m *Meter) appendRules(metrics pmetric.MetricSlice, totals []RuleTotal, at instant) {
	points := appendSum(metrics, MetricRules, "{connection}", "Connections that a rule decided; of a shadow rule, would have decided.", true)
	var rest uint64
	overflow := false
	for i := range totals {
		rule := totals[i].Rule
		if _, known := m.rules[rule]; !known {
			if len(m.rules) >= m.maxRules {
				rest += totals[i].Count
				overflow = true
				continue
			}
			m.rules[rule] = struct{}{}
		}
		at.add(points, totals[i].Count).PutStr("security_rule.name", clean(rule))
	}
	if overflow {
		at.add(points, rest).PutBool("otel.metric.overflow", true)
	}
}

// instant is the time span that a data point covers.
type instant struct{ start, now pcommon.Timestamp }

// add appends a data point and returns its attributes, to be filled in.
func (at instant) add(points pmetric.NumberDataPointSlice, value uint64) pcommon.Map {
	point := points.AppendEmpty()
	point.SetStartTimestamp(at.start)
	point.SetTimestamp(at.now)
	point.SetIntValue(int64(value))
	return point.Attributes()
}

func appendSum(metrics pmetric.MetricSlice, name, unit, description string, monotonic bool) pmetric.NumberDataPointSlice {
	metric := metrics.AppendEmpty()
	metric.SetName(name)
	metric.SetUnit(unit)
	metric.SetDescription(description)
	sum := metric.SetEmptySum()
	sum.SetIsMonotonic(monotonic)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	return sum.DataPoints()
}
