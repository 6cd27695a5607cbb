package ebpfconnectionreceiver

import (
	"github.com/weirnet/weir/internal/telemetry"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// MetricsConfig switches the metrics on and off: those that metadata.yaml
// declares, and weir.connection.duration. That is a histogram, for which
// mdatagen (v0.158) generates code that does not compile.
type MetricsConfig struct {
	metadata.MetricsConfig `mapstructure:",squash"`
	// WeirConnectionDuration switches weir.connection.duration.
	WeirConnectionDuration DurationMetricConfig `mapstructure:"weir.connection.duration"`
}

// DurationMetricConfig is the switch of weir.connection.duration: how long the
// connections that ended had lasted, in seconds, by network.transport,
// weir.direction and weir.verdict; a cumulative histogram.
type DurationMetricConfig struct {
	Enabled bool `mapstructure:"enabled"`
}

func defaultMetricsConfig() MetricsConfig {
	return MetricsConfig{
		MetricsConfig:          metadata.DefaultMetricsConfig(),
		WeirConnectionDuration: DurationMetricConfig{Enabled: true},
	}
}

// wanted is what the switches say, in the words of the room that makes metrics.
func (c *MetricsConfig) wanted() telemetry.MetricSet {
	return telemetry.MetricSet{
		Verdicts: c.WeirConnectionVerdicts.Enabled,
		Active:   c.WeirConnectionActive.Enabled,
		Duration: c.WeirConnectionDuration.Enabled,
		IO:       c.WeirConnectionIo.Enabled,
		Packets:  c.WeirConnectionPackets.Enabled,
		Rules:    c.WeirRuleMatches.Enabled,
	}
}

// wantedEvents says which kinds of records become logs.
func wantedEvents(events *metadata.EventsConfig) func(*telemetry.Connection) bool {
	start := events.WeirConnectionStart.Enabled
	verdict := events.WeirConnectionVerdict.Enabled
	update := events.WeirConnectionUpdate.Enabled
	end := events.WeirConnectionEnd.Enabled
	return func(c *telemetry.Connection) bool {
		switch c.Kind {
		case telemetry.ConnectionStart:
			return start
		case telemetry.ConnectionVerdict:
			return verdict
		case telemetry.ConnectionUpdate:
			return update
		case telemetry.ConnectionEnd:
			return end
		}
		return false
	}
}

// wantedSpans says which records become spans: the ends of connections, of all
// or of those that were blocked.
func wantedSpans(traces *TracesConfig) func(*telemetry.Connection) bool {
	all := traces.Connections == tracesAll
	return func(c *telemetry.Connection) bool {
		return c.Kind == telemetry.ConnectionEnd && (all || c.Judgement.Verdict == telemetry.Blocked)
	}
}
