package ebpfconnectionreceiver

import (
	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/internal/telemetry"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// selection says which records a lane takes.
type selection struct {
	connection func(*telemetry.Connection) bool
	exchange   func(*telemetry.Exchange) bool
}

// wantedEvents are those of the kinds that are switched on.
func wantedEvents(events *metadata.EventsConfig) selection {
	on := map[telemetry.Kind]bool{
		telemetry.ConnectionStart:   events.WeirConnectionStart.Enabled,
		telemetry.ConnectionVerdict: events.WeirConnectionVerdict.Enabled,
		telemetry.ConnectionUpdate:  events.WeirConnectionUpdate.Enabled,
		telemetry.ConnectionEnd:     events.WeirConnectionEnd.Enabled,
		telemetry.HTTPRequest:       events.WeirHTTPRequest.Enabled,
		telemetry.TLSHandshake:      events.WeirTLSHandshake.Enabled,
		telemetry.DNSQuery:          events.WeirDNSQuery.Enabled,
		telemetry.SSHHandshake:      events.WeirSSHHandshake.Enabled,
	}
	var kinds [telemetry.SSHHandshake + 1]bool // asked for each record
	for kind := range kinds {
		kinds[kind] = on[telemetry.Kind(kind)]
	}
	has := func(kind telemetry.Kind) bool { return int(kind) < len(kinds) && kinds[kind] }
	return selection{
		connection: func(c *telemetry.Connection) bool { return has(c.Kind) },
		exchange:   func(e *telemetry.Exchange) bool { return has(e.Kind) },
	}
}

// wantedSpans are those of which spans are made.
func wantedSpans(tracing telemetry.Tracing) selection {
	return selection{connection: tracing.WantsConnection, exchange: tracing.WantsExchange}
}

// inspectConfig says what the engine is to look for: what is switched on in a
// signal that is in a pipeline.
func (r *connectionReceiver) inspectConfig() engine.InspectConfig {
	c := r.config
	report := engine.Report{
		Query:   c.Record.HTTP.Query,
		Headers: c.Record.HTTP.headerNames(),
		Answers: c.Record.DNS.Answers,
	}
	if r.logLane != nil {
		report.HTTP = c.Events.WeirHTTPRequest.Enabled
		report.TLS = c.Events.WeirTLSHandshake.Enabled
		report.DNS = c.Events.WeirDNSQuery.Enabled
		report.SSH = c.Events.WeirSSHHandshake.Enabled
	}
	if r.traceLane != nil {
		// Where spans are made of what is blocked, they are made besides of requests
		// that are part of a trace that is believed.
		tracing := c.Traces.tracing()
		report.HTTP = report.HTTP || tracing.All || tracing.Trust != telemetry.TrustNone
		report.TLS = report.TLS || tracing.All
		report.DNS = report.DNS || tracing.All
		report.SSH = report.SSH || tracing.All
	}
	if r.exchanges != nil {
		metrics := c.Metrics.wanted()
		report.HTTP = report.HTTP || metrics.HTTPRequests
		report.DNS = report.DNS || metrics.DNSQueries || metrics.DNSDuration
	}
	resolvers, _ := c.Names.resolvers() // it was checked
	return engine.InspectConfig{
		Report: report,
		// Without a policy nothing is.
		ReportBlocked:    r.traceLane != nil && c.Policy != nil,
		MaxBytes:         c.Inspect.MaxBytes,
		MaxWait:          c.Inspect.MaxWait,
		LateWait:         c.Inspect.LateWait,
		Queues:           c.Inspect.Queues,
		CertificateProbe: c.Inspect.CertificateProbe == certificateProbeAuto,
		SSHServers:       c.Inspect.SSH.Servers,
		Logins:           loginSources[c.Inspect.SSH.Source],
		Resolvers:        resolvers,
		NamesFile:        c.Names.file(r.settings.ID),
	}
}
