package ebpfconnectionreceiver

import (
	"errors"
	"fmt"
	"path"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/internal/telemetry"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// Config is the configuration of the receiver; README.md has it as a table.
type Config struct {
	// Policy is the id of the connection_policy extension; nil: detect without
	// rules.
	Policy *component.ID `mapstructure:"policy"`
	// CaptureFile is a pcap or pcapng file, compressed with gzip or not, that is
	// replayed instead of watching the kernel.
	CaptureFile string `mapstructure:"capture_file"`
	// CaptureStop ends the Collector when the capture is replayed and all records
	// are delivered.
	CaptureStop bool `mapstructure:"capture_stop"`
	// CaptureAddresses are addresses and prefixes of the host that recorded the
	// capture: they tell inbound and outbound connections from forwarded ones.
	CaptureAddresses []string `mapstructure:"capture_addresses"`
	// Interfaces are those that are watched.
	Interfaces InterfacesConfig `mapstructure:"interfaces"`
	// XDP says where packets of blocked connections are dropped early: off, native
	// (in the interfaces' drivers) or generic.
	XDP string `mapstructure:"xdp"`
	// OnShutdown says what becomes of the programs in the kernel: auto (keep
	// them where the policy is enforced), keep or unload.
	OnShutdown string `mapstructure:"on_shutdown"`
	// FlowTable is the table of connections in the kernel.
	FlowTable FlowTableConfig `mapstructure:"flow_table"`
	// Inspect bounds what is looked for inside connections, Record says what is told
	// of it beyond the default.
	Inspect InspectConfig `mapstructure:"inspect"`
	Record  RecordConfig  `mapstructure:"record"`
	// Names says whose DNS answers name addresses.
	Names NamesConfig `mapstructure:"names"`
	// UpdateInterval is the time between two weir.connection.update of a
	// connection; 0 turns them off.
	UpdateInterval time.Duration `mapstructure:"update_interval"`
	// CollectionInterval is the time between two collections of metrics.
	CollectionInterval time.Duration `mapstructure:"collection_interval"`
	// MaxRules is how many rules weir.rule.matches tells apart; the rest share
	// one series.
	MaxRules int `mapstructure:"max_rules"`
	// QueueSize is how many records may wait for the next consumer, for logs
	// and traces each. What comes beyond is dropped and counted.
	QueueSize int `mapstructure:"queue_size"`
	// Traces says what becomes a span.
	Traces TracesConfig `mapstructure:"traces"`
	// Events switches the log events on and off by name.
	Events metadata.EventsConfig `mapstructure:"events"`
	// Metrics switches the metrics on and off by name.
	Metrics MetricsConfig `mapstructure:"metrics"`
	// ResourceAttributes switches host.name and host.id on and off.
	ResourceAttributes metadata.ResourceAttributesConfig `mapstructure:"resource_attributes"`
}

// FlowTableConfig is the table of connections in the kernel.
type FlowTableConfig struct {
	// MaxEntries is how many connections it holds; the memory for them is taken
	// at the start.
	MaxEntries uint32 `mapstructure:"max_entries"`
	// Timeouts are how long a connection is kept after its last packet.
	Timeouts TimeoutsConfig `mapstructure:"timeouts"`
}

// TimeoutsConfig are the times after which a connection without packets is
// taken for ended.
type TimeoutsConfig struct {
	// TCP is for a connection that is open.
	TCP time.Duration `mapstructure:"tcp"`
	// TCPClosing is for one that is not open yet, or was closed.
	TCPClosing time.Duration `mapstructure:"tcp_closing"`
	UDP        time.Duration `mapstructure:"udp"`
	// ICMP is also for protocols other than these.
	ICMP time.Duration `mapstructure:"icmp"`
}

// TracesConfig says what becomes a span.
type TracesConfig struct {
	// Connections is blocked or all; requests, queries and handshakes go with them.
	Connections string `mapstructure:"connections"`
	// TrustTraceparent says whose header traceparent puts a request's span into its
	// trace: outbound (requests of this host), all or none.
	TrustTraceparent string `mapstructure:"trust_traceparent"`
}

// Values of Config.OnShutdown.
const (
	onShutdownAuto   = "auto"
	onShutdownKeep   = "keep"
	onShutdownUnload = "unload"
)

// xdpModes has the values of Config.XDP.
var xdpModes = map[string]engine.XDP{xdpOff: engine.XDPOff, "native": engine.XDPNative, "generic": engine.XDPGeneric}

const xdpOff = "off"

// Values of TracesConfig.Connections.
const (
	tracesBlocked = "blocked"
	tracesAll     = "all"
)

// trusts has the values of TracesConfig.TrustTraceparent.
var trusts = map[string]telemetry.TraceTrust{
	trustOutbound: telemetry.TrustOutbound,
	"all":         telemetry.TrustAll,
	"none":        telemetry.TrustNone,
}

const trustOutbound = "outbound"

// tracing is what the settings say, in the words of the room that makes spans.
func (c *TracesConfig) tracing() telemetry.Tracing {
	return telemetry.Tracing{All: c.Connections == tracesAll, Trust: trusts[c.TrustTraceparent]}
}

func createDefaultConfig() component.Config {
	return &Config{
		XDP:        xdpOff,
		OnShutdown: onShutdownAuto,
		FlowTable: FlowTableConfig{
			MaxEntries: 1 << 20,
			Timeouts: TimeoutsConfig{
				// Beyond two hours and change, when hosts that keep
				// connections alive (RFC 1122 section 4.2.3.6) have shown it.
				TCP:        120 * time.Hour,
				TCPClosing: 2 * time.Minute,
				UDP:        time.Minute,
				ICMP:       10 * time.Second,
			},
		},
		Inspect: InspectConfig{
			// More than the header of most requests has. The wait is longer than a
			// retransmission takes, and late facts than a login does (LoginGraceTime of
			// OpenSSH is 120 s).
			MaxBytes: 12 << 10, MaxWait: 5 * time.Second, LateWait: 150 * time.Second,
			CertificateProbe: certificateProbeAuto,
			SSH:              SSHConfig{Source: loginsAuto},
		},
		Names:              NamesConfig{Keep: true},
		CollectionInterval: 10 * time.Second,
		MaxRules:           1000,
		QueueSize:          1 << 16,
		Traces:             TracesConfig{Connections: tracesBlocked, TrustTraceparent: trustOutbound},
		Events:             metadata.DefaultEventsConfig(),
		Metrics:            defaultMetricsConfig(),
		ResourceAttributes: metadata.DefaultResourceAttributesConfig(),
	}
}

var _ confmap.Validator = (*Config)(nil)

// Validate tells all that is wrong, each with its key and what is accepted.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(format string, arguments ...any) { errs = append(errs, fmt.Errorf(format, arguments...)) }

	if _, ok := xdpModes[c.XDP]; !ok {
		wrong("xdp: %q is not accepted: want off, native or generic", c.XDP)
	}
	switch c.OnShutdown {
	case onShutdownAuto, onShutdownKeep, onShutdownUnload:
	default:
		wrong("on_shutdown: %q is not accepted: want auto, keep or unload", c.OnShutdown)
	}
	switch c.Traces.Connections {
	case tracesBlocked, tracesAll:
	default:
		wrong("traces::connections: %q is not accepted: want blocked or all", c.Traces.Connections)
	}
	if _, ok := trusts[c.Traces.TrustTraceparent]; !ok {
		wrong("traces::trust_traceparent: %q is not accepted: want outbound, all or none", c.Traces.TrustTraceparent)
	}
	if c.CaptureStop && c.CaptureFile == "" {
		wrong("capture_stop: there is no capture to end with: want capture_file, too")
	}
	if len(c.CaptureAddresses) > 0 && c.CaptureFile == "" {
		wrong("capture_addresses: a host that is watched knows its own: want capture_file, too")
	}
	if _, err := c.captureAddresses(); err != nil {
		errs = append(errs, err)
	}
	if c.FlowTable.MaxEntries < 1 {
		wrong("flow_table::max_entries: want at least 1")
	}
	for _, timeout := range []struct {
		name  string
		value time.Duration
	}{
		{"tcp", c.FlowTable.Timeouts.TCP},
		{"tcp_closing", c.FlowTable.Timeouts.TCPClosing},
		{"udp", c.FlowTable.Timeouts.UDP},
		{"icmp", c.FlowTable.Timeouts.ICMP},
	} {
		if timeout.value < time.Second {
			wrong("flow_table::timeouts::%s: %v is too short: want at least 1s", timeout.name, timeout.value)
		}
	}
	if c.UpdateInterval != 0 && c.UpdateInterval < time.Second {
		wrong("update_interval: %v is too short: want at least 1s, or 0 to turn updates off", c.UpdateInterval)
	}
	if c.CollectionInterval < time.Second {
		wrong("collection_interval: %v is too short: want at least 1s", c.CollectionInterval)
	}
	if c.MaxRules < 0 {
		wrong("max_rules: %d is negative: want 0 (all rules in one series) or more", c.MaxRules)
	}
	if c.QueueSize < 1 {
		wrong("queue_size: want at least 1, found %d", c.QueueSize)
	}
	return errors.Join(errs...)
}

// InterfacesConfig names the interfaces that are watched, those included that
// appear later. In a file it is the word auto, or the two lists.
type InterfacesConfig struct {
	// Include are globs (path.Match) of names; empty means auto: the interfaces
	// with a route off the host.
	Include []string `mapstructure:"include"`
	// Exclude are globs of names that are left out, also of auto.
	Exclude []string `mapstructure:"exclude"`
}

// UnmarshalText reads the short form.
func (c *InterfacesConfig) UnmarshalText(text []byte) error {
	if string(text) != "auto" {
		return fmt.Errorf("%q is not accepted: want auto, or {include: [globs], exclude: [globs]}", text)
	}
	*c = InterfacesConfig{}
	return nil
}

var _ confmap.Validator = (*InterfacesConfig)(nil)

// Validate checks the globs.
func (c *InterfacesConfig) Validate() error {
	var errs []error
	check := func(key string, globs []string) {
		for i, glob := range globs {
			if glob == "" {
				errs = append(errs, fmt.Errorf("%s::%d: an empty name matches nothing", key, i))
			} else if _, err := path.Match(glob, ""); err != nil {
				errs = append(errs, fmt.Errorf(`%s::%d: %q is not a glob: a "[" without its "]", or a "\" at the end`, key, i, glob))
			}
		}
	}
	check("include", c.Include)
	check("exclude", c.Exclude)
	return errors.Join(errs...)
}
