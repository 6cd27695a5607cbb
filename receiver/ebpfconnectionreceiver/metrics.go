package ebpfconnectionreceiver

import (
	"github.com/weirnet/weir/internal/telemetry"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// MetricsConfig switches the metrics on and off: those that metadata.yaml
// declares, weir.connection.duration and weir.dns.duration. These are histograms,
// for which mdatagen (v0.158) generates code that does not compile.
type MetricsConfig struct {
	metadata.MetricsConfig `mapstructure:",squash"`
	// WeirConnectionDuration switches weir.connection.duration.
	WeirConnectionDuration DurationMetricConfig `mapstructure:"weir.connection.duration"`
	// WeirDNSDuration switches weir.dns.duration.
	WeirDNSDuration DurationMetricConfig `mapstructure:"weir.dns.duration"`
}

// DurationMetricConfig is the switch of a cumulative histogram in seconds.
//
// weir.connection.duration: how long the connections that ended had lasted, by
// network.transport, weir.direction and weir.verdict.
//
// weir.dns.duration: how long DNS queries took to be answered, by
// weir.dns.response_code, weir.dns.service and weir.direction.
type DurationMetricConfig struct {
	Enabled bool `mapstructure:"enabled"`
}

func defaultMetricsConfig() MetricsConfig {
	return MetricsConfig{
		MetricsConfig:          metadata.DefaultMetricsConfig(),
		WeirConnectionDuration: DurationMetricConfig{Enabled: true},
		WeirDNSDuration:        DurationMetricConfig{Enabled: true},
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

		HTTPRequests: c.WeirHTTPRequests.Enabled,
		DNSQueries:   c.WeirDNSQueries.Enabled,
		DNSDuration:  c.WeirDNSDuration.Enabled,
	}
}
