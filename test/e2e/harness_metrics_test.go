package e2e

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// points are the values of a metric by its attributes: "tcp outbound allowed",
// in the order of the keys asked for.
type points map[string]int64

// metric is the last collection of a metric; of a histogram its counts.
func (w *weir) metric(t *testing.T, name string, keys ...string) points {
	t.Helper()
	content, err := os.ReadFile(signalFile(w.dir, "metrics"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	lines := bytes.Split(content, []byte("\n"))
	found := points{}
	if len(lines) < 2 {
		return found
	}
	all := requests(t, lines[len(lines)-2]) // the last line is not complete
	metrics, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(all[len(all)-1])
	if err != nil {
		t.Fatalf("the file exporter's output is not OTLP JSON: %v", err)
	}
	add := func(attributes pcommon.Map, value int64) {
		var values []string
		for _, key := range keys {
			value, ok := attributes.Get(key)
			if !ok {
				values = append(values, "-")
				continue
			}
			values = append(values, value.AsString())
		}
		found[strings.Join(values, " ")] += value
	}
	for _, resource := range metrics.ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			for _, m := range scope.Metrics().All() {
				if m.Name() != name {
					continue
				}
				switch m.Type() {
				case pmetric.MetricTypeSum:
					for _, p := range m.Sum().DataPoints().All() {
						add(p.Attributes(), p.IntValue())
					}
				case pmetric.MetricTypeHistogram:
					for _, p := range m.Histogram().DataPoints().All() {
						add(p.Attributes(), int64(p.Count()))
					}
				default:
					t.Fatalf("%s is a %v", name, m.Type())
				}
			}
		}
	}
	return found
}

// span is a span as the file exporter wrote it.
type span struct {
	name, kind string
	failed     bool
	attributes map[string]any
	seconds    float64
}

// spans are all so far.
func (w *weir) spans(t *testing.T) []span {
	t.Helper()
	content, err := os.ReadFile(signalFile(w.dir, "traces"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var list []span
	ids := map[string]bool{}
	for line := range bytes.Lines(content) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		for _, request := range requests(t, line) {
			traces, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(request)
			if err != nil {
				t.Fatalf("the file exporter's output is not OTLP JSON: %v", err)
			}
			for _, resource := range traces.ResourceSpans().All() {
				for _, scope := range resource.ScopeSpans().All() {
					for _, s := range scope.Spans().All() {
						id := fmt.Sprint(s.TraceID(), s.SpanID())
						if s.TraceID().IsEmpty() || s.SpanID().IsEmpty() || ids[id] {
							t.Errorf("span %s has no ids of its own: %s", s.Name(), id)
						}
						ids[id] = true
						list = append(list, span{
							name: s.Name(), kind: s.Kind().String(), failed: s.Status().Code() == ptrace.StatusCodeError,
							attributes: s.Attributes().AsRaw(),
							seconds:    s.EndTimestamp().AsTime().Sub(s.StartTimestamp().AsTime()).Seconds(),
						})
					}
				}
			}
		}
	}
	return list
}

// awaitSpan waits for the one span of a connection.
func (w *weir) awaitSpan(t *testing.T, c tuple) span {
	t.Helper()
	var found []span
	await(t, "the span of "+c.String(), func() bool {
		found = slices.DeleteFunc(w.spans(t), func(s span) bool { return !c.is(record{attributes: s.attributes}) })
		return len(found) > 0
	})
	if len(found) != 1 {
		t.Errorf("%d spans of %v", len(found), c)
	}
	return found[0]
}

// gauge is the value of one of the Collector's own metrics without attributes of its own.
func gauge(page, name string) (sum int64) {
	for _, match := range regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(name)+`(\{[^}]*\})? ([0-9.e+]+)$`).FindAllStringSubmatch(page, -1) {
		n, _ := strconv.ParseFloat(match[2], 64)
		sum += int64(n)
	}
	return sum
}
