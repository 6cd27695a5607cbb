package ebpfconnectionreceiver

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// load reads a configuration as the Collector does: defaults, then the file,
// then the checks.
func load(conf *confmap.Conf) (*Config, error) {
	config := createDefaultConfig().(*Config)
	if err := conf.Unmarshal(config); err != nil {
		return nil, err
	}
	return config, confmap.Validate(config)
}

func loadCase(t *testing.T, name string) (*Config, error) {
	t.Helper()
	file, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	conf, err := file.Sub(component.NewIDWithName(metadata.Type, name).String())
	require.NoError(t, err)
	return load(conf)
}

func TestConfig(t *testing.T) {
	edge := component.MustNewIDWithName("connection_policy", "edge")
	for name, change := range map[string]func(*Config){
		"default":           func(*Config) {},
		"auto":              func(*Config) {},
		"exclude_from_auto": func(c *Config) { c.Interfaces.Exclude = []string{"docker*"} },
		"everything": func(c *Config) {
			c.Policy = &edge
			c.Interfaces = InterfacesConfig{Include: []string{"eth*", "wlan0"}, Exclude: []string{"eth9"}}
			c.OnShutdown = onShutdownKeep
			c.XDP = "native"
			c.FlowTable = FlowTableConfig{MaxEntries: 4096, Timeouts: TimeoutsConfig{
				TCP: time.Hour, TCPClosing: time.Minute, UDP: 30 * time.Second, ICMP: 5 * time.Second,
			}}
			c.UpdateInterval, c.CollectionInterval = time.Minute, 30*time.Second
			c.MaxRules, c.QueueSize = 10, 100
			c.Traces = TracesConfig{Connections: tracesAll, TrustTraceparent: "none"}
			c.Inspect = InspectConfig{MaxBytes: 32768, MaxWait: 2 * time.Second, LateWait: 30 * time.Second, Queues: 4, CertificateProbe: "off", SSH: SSHConfig{Source: "kernel", Servers: []string{"/opt/sbin/sshd"}}}
			c.Record.HTTP = RecordHTTPConfig{Query: true, RequestHeaders: []string{"X-Request-Id", "accept"}}
			c.Record.DNS.Answers = true
			c.Names.Resolvers = []string{"192.0.2.53", "192.0.2.54:5353", "2001:db8::53", "[2001:db8::54]:53"}
			c.Names.StateDirectory = "/var/lib/other"
			c.Events.WeirConnectionStart.Enabled = false
			c.Events.WeirPolicyChange.Enabled = false
			c.Events.WeirDNSQuery.Enabled = false
			c.Metrics.WeirConnectionDuration.Enabled = false
			c.Metrics.WeirDNSDuration.Enabled = false
			c.Metrics.WeirRuleMatches.Enabled = false
			c.ResourceAttributes.HostID.Enabled = false
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := loadCase(t, name)
			require.NoError(t, err)
			want := createDefaultConfig().(*Config)
			change(want)
			assert.Equal(t, plain(t, want), plain(t, got))
		})
	}
}

// plain is a configuration without the marks of what the file said.
func plain(t *testing.T, config *Config) map[string]any {
	t.Helper()
	conf := confmap.New()
	require.NoError(t, conf.Marshal(config))
	return conf.ToStringMap()
}

func TestConfigErrors(t *testing.T) {
	for name, wants := range map[string][]string{
		"wrong_interfaces": {`'interfaces'`, `"eth0" is not accepted: want auto, or {include: [globs], exclude: [globs]}`},
		"wrong_glob":       {`interfaces: include::0: "eth[0" is not a glob`, "include::1: an empty name matches nothing"},
		"wrong_policy":     {`'policy'`, `"not an id/"`},
		"wrong_words": {
			`xdp: "offload" is not accepted: want off, native or generic`,
			`on_shutdown: "never" is not accepted: want auto, keep or unload`,
			`traces::connections: "some" is not accepted: want blocked or all`,
			`traces::trust_traceparent: "inbound" is not accepted: want outbound, all or none`,
		},
		"wrong_inspect": {
			"inspect: max_bytes: 100 is not accepted: want 1024 to 1048576",
			"max_wait: 1ms is too short: want at least 100ms",
			"late_wait: 0s is too short: want at least max_wait (1ms)",
			"queues: 65 is not accepted: want 1 to 64, or 0 for half as many as there are processors",
			`certificate_probe: "always" is not accepted: want auto or off`,
			`ssh: source: "auth.log" is not accepted: want auto, kernel or journald`,
			`servers::0: "sshd" is no path from the root: want one such as /usr/sbin/sshd`,
		},
		"wrong_record": {
			`record::http: request_headers::0: "x id" is no name of a header: want letters, digits and -, as in x-request-id`,
			`request_headers::1: "" is no name of a header`,
			`request_headers::3: "ACCEPT" is there twice`,
		},
		"wrong_resolvers": {
			`names: resolvers::0: "dns.example.com" is no address of a resolver: want one such as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53`,
			`resolvers::1: "0.0.0.0"`, `resolvers::2: "192.0.2.53:0"`, `resolvers::3: "224.0.0.251"`,
		},
		"wrong_numbers": {
			"flow_table::max_entries: want at least 1",
			"flow_table::timeouts::tcp: 1ms is too short: want at least 1s",
			"flow_table::timeouts::tcp_closing: 0s is too short",
			"flow_table::timeouts::udp: -1s is too short",
			"flow_table::timeouts::icmp: 999ms is too short",
			"update_interval: 10ms is too short: want at least 1s, or 0 to turn updates off",
			"collection_interval: 0s is too short: want at least 1s",
			"max_rules: -1 is negative",
			"queue_size: want at least 1, found 0",
		},
		"unknown_key":    {"xpd"},
		"unknown_event":  {"weir.connection.begin"},
		"unknown_metric": {"weir.connection.count"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadCase(t, name)
			for _, want := range wants {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestEngineConfig(t *testing.T) {
	config, err := loadCase(t, "everything")
	require.NoError(t, err)
	got := engineConfig(config, engine.InspectConfig{MaxBytes: 7}, nil)
	assert.NotNil(t, got.FollowJournal)
	got.FollowJournal = nil // functions cannot be compared
	assert.Equal(t, engine.Config{
		Include: []string{"eth*", "wlan0"}, Exclude: []string{"eth9"},
		XDP: engine.XDPNative, MaxEntries: 4096, UpdateInterval: time.Minute, Keep: engine.KeepAlways, Inspect: engine.InspectConfig{MaxBytes: 7},
		Timeouts: engine.Timeouts{TCP: time.Hour, TCPClosing: time.Minute, UDP: 30 * time.Second, ICMP: 5 * time.Second},
	}, got)
	for word, keep := range map[string]engine.KeepMode{
		onShutdownAuto: engine.KeepAuto, onShutdownKeep: engine.KeepAlways, onShutdownUnload: engine.KeepNever,
	} {
		config.OnShutdown = word
		assert.Equal(t, keep, engineConfig(config, engine.InspectConfig{}, nil).Keep, word)
	}
}
