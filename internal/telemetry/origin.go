package telemetry

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Origin says who speaks; it stands at the head of every batch.
type Origin struct {
	// Resource holds host.name and host.id, as far as they are enabled.
	Resource pcommon.Resource
	// ScopeName is the import path of the component, ScopeVersion that of the
	// build it is part of.
	ScopeName, ScopeVersion string
	// SchemaURL names the version of the semantic conventions.
	SchemaURL string
	// Host tells the hosts apart in trace and span ids; any text that is
	// stable on a host, such as its host.id.
	Host string
}

// NewLogs makes an empty batch of log records and the slice to append to.
func (o Origin) NewLogs() (plog.Logs, plog.LogRecordSlice) {
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.SetSchemaUrl(o.SchemaURL)
	o.Resource.CopyTo(resource.Resource())
	scope := resource.ScopeLogs().AppendEmpty()
	o.putScope(scope.Scope())
	return logs, scope.LogRecords()
}

// NewTraces makes an empty batch of spans and the slice to append to.
func (o Origin) NewTraces() (ptrace.Traces, ptrace.SpanSlice) {
	traces := ptrace.NewTraces()
	resource := traces.ResourceSpans().AppendEmpty()
	resource.SetSchemaUrl(o.SchemaURL)
	o.Resource.CopyTo(resource.Resource())
	scope := resource.ScopeSpans().AppendEmpty()
	o.putScope(scope.Scope())
	return traces, scope.Spans()
}

// NewMetrics makes an empty batch of metrics and the slice to append to.
func (o Origin) NewMetrics() (pmetric.Metrics, pmetric.MetricSlice) {
	metrics := pmetric.NewMetrics()
	resource := metrics.ResourceMetrics().AppendEmpty()
	resource.SetSchemaUrl(o.SchemaURL)
	o.Resource.CopyTo(resource.Resource())
	scope := resource.ScopeMetrics().AppendEmpty()
	o.putScope(scope.Scope())
	return metrics, scope.Metrics()
}

func (o Origin) putScope(scope pcommon.InstrumentationScope) {
	scope.SetName(o.ScopeName)
	scope.SetVersion(o.ScopeVersion)
}
