package connectionpolicyextension

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/weirnet/weir/extension/connectionpolicyextension/internal/metadatatest"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

// audited is a bench with an audit log, whose first policy is in force.
func audited(t *testing.T, content string, change ...func(*Config)) *bench {
	t.Helper()
	var b *bench
	change = append([]func(*Config){func(c *Config) {
		a := NewDefaultAudit()
		a.Path = strings.TrimSuffix(c.File, "policy.yaml") + "log/audit.log"
		c.Audit = configoptional.Some(a)
	}}, change...)
	b = newBench(t, content, change...)
	b.report.host = b.host
	require.NoError(t, b.openAudit())
	t.Cleanup(func() { b.closeAudit(context.Background()) })
	require.NoError(t, b.first())
	return b
}

// auditLines end the log, and are its lines without their time.
func (b *bench) auditLines() []string {
	b.t.Helper()
	require.NoError(b.t, b.closeAudit(context.Background()))
	content, err := os.ReadFile(b.path("log/audit.log"))
	require.NoError(b.t, err)
	var lines []string
	for line := range strings.Lines(string(content)) {
		_, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		lines = append(lines, strings.ReplaceAll(text, b.dir, "DIR"))
	}
	return lines
}

func TestAuditOfThePolicy(t *testing.T) {
	b := audited(t, oneRule, func(c *Config) { c.ConfirmWithin = time.Minute })
	b.write("policy.yaml", strings.Replace(twoRules, "prevent", "detect", 1))
	b.look()
	b.write("policy.yaml", broken)
	b.look()
	b.pass(time.Minute)
	b.write("policy.yaml", threeRules)
	b.look()
	b.touch("policy.yaml.confirm", time.Second)
	b.pass(confirmPoll)
	b.PolicyChanged(telemetry.PolicyChange{Time: b.now(), Change: telemetry.PolicyExpired, Generation: 4, Detail: "expired: a"})
	lines := b.auditLines()
	for i, want := range []string{
		"start     Weir 1.2.3, process ",
		"policy    loaded generation 1 from DIR/policy.yaml: 1 rule, mode prevent",
		"policy    loaded generation 2 from DIR/policy.yaml: 2 rules, mode detect; generation 1 returns at ",
		"mode      detect, was prevent: generation 2",
		"policy    refused from DIR/policy.yaml: ",
		"policy    rolled_back generation 3 from DIR/policy.yaml: generation 2 was not confirmed",
		"mode      prevent, was detect: generation 3",
		"policy    loaded generation 4 from DIR/policy.yaml: 3 rules, mode prevent; ",
		"policy    confirmed generation 4 ",
		"policy    expired generation 4: expired: a",
		"stop      process ",
	} {
		require.Greater(t, len(lines), i, want)
		assert.True(t, strings.HasPrefix(lines[i], want), "%q, want %q", lines[i], want)
	}
	assert.True(t, strings.HasSuffix(lines[2], "; mode: prevent → detect; + rule 2 b: allow layer4.tcp.destination_ports 443"), lines[2])
	assert.True(t, strings.HasSuffix(lines[5], "; mode: detect → prevent; - rule 2 b: allow layer4.tcp.destination_ports 443"), lines[5])
	assert.True(t, strings.HasSuffix(lines[7], "; + rule 2 b: allow layer4.tcp.destination_ports 443; + rule 3 c: allow layer4.tcp.destination_ports 80"), lines[7])
}

func TestAuditOfConnections(t *testing.T) {
	b := audited(t, oneRule)
	var sink EventSink = b
	c := telemetry.Connection{
		Kind: telemetry.ConnectionStart, Time: b.now(), Direction: packet.Inbound, Count: 1,
		Tuple: packet.Tuple{
			Source: netip.MustParseAddr("192.0.2.9"), SourcePort: 4000,
			Destination: netip.MustParseAddr("192.0.2.2"), DestinationPort: 23, Protocol: packet.TCP,
		},
		Judgement: telemetry.Judgement{Verdict: telemetry.Blocked, Action: telemetry.Block, Reason: telemetry.ReasonDefault},
	}
	sink.Connections([]telemetry.Connection{c})
	sink.Exchanges([]telemetry.Exchange{{
		Kind: telemetry.DNSQuery, Time: b.now(), Protocol: "dns", DNS: &telemetry.DNSExchange{Name: "x.zip", Type: "A"},
		Connection: telemetry.ConnectionRef{Tuple: c.Tuple, Direction: c.Direction}, Judgement: c.Judgement,
	}})
	lines := b.auditLines()
	assert.Equal(t, []string{
		"blocked   inbound  tcp 192.0.2.9:4000 → 192.0.2.2:23 reason=default",
		`dns       blocked   inbound  tcp 192.0.2.9:4000 → 192.0.2.2:23 reason=default "A" "x.zip"`,
	}, lines[2:4])
	exact := metricdatatest.IgnoreTimestamp()
	metadatatest.AssertEqualWeirAuditLines(t, b.tel, []metricdata.DataPoint[int64]{{Value: 5}}, exact)
	metadatatest.AssertEqualWeirAuditConnections(t, b.tel, []metricdata.DataPoint[int64]{{Value: 1}}, exact)
	metadatatest.AssertEqualWeirAuditExchanges(t, b.tel, []metricdata.DataPoint[int64]{{Value: 1}}, exact)
}

// Without the setting there is no log, and what is handed over goes nowhere.
func TestNoAudit(t *testing.T) {
	b := started(t, oneRule)
	require.NoError(t, b.openAudit())
	b.Connections(make([]telemetry.Connection, 1))
	b.Exchanges(make([]telemetry.Exchange, 1))
	b.PolicyChanged(telemetry.PolicyChange{})
	assert.NoDirExists(t, b.path("log"))
}

// A log that cannot be written keeps no policy from being enforced, and does not
// keep quiet either.
func TestAuditInAFolderOfOthers(t *testing.T) {
	b := newBench(t, oneRule, func(c *Config) {
		a := NewDefaultAudit()
		a.Path = c.File + ".log/audit.log"
		c.Audit = configoptional.Some(a)
	})
	require.NoError(t, os.Mkdir(b.path("policy.yaml.log"), 0o755))
	require.NoError(t, b.Start(t.Context(), b.host))
	var f enforcer
	b.subscribe(&f)
	assert.Equal(t, 1, f.rules())
	require.Eventually(t, func() bool { return b.logs.FilterMessageSnippet("The audit log cannot be written").Len() == 1 }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool {
		s := b.host.statuses()
		return len(s) > 0 && s[len(s)-1] == componentstatus.StatusRecoverableError
	}, 10*time.Second, time.Millisecond)
	// A policy that is taken up does not make that good.
	b.policyExtension.mu.Lock()
	b.report.differs(nil)
	b.policyExtension.mu.Unlock()
	s := b.host.statuses()
	assert.Equal(t, componentstatus.StatusRecoverableError, s[len(s)-1])
	got, err := b.tel.GetMetric("otelcol_weir_audit_failures")
	require.NoError(t, err)
	cause, _ := got.Data.(metricdata.Sum[int64]).DataPoints[0].Attributes.Value(attribute.Key("cause"))
	assert.Equal(t, "insecure", cause.AsString())
	require.NoError(t, os.Chmod(b.path("policy.yaml.log"), 0o700))
	require.Eventually(t, func() bool {
		s := b.host.statuses()
		return s[len(s)-1] == componentstatus.StatusOK
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, b.Shutdown(context.Background()))
}

func TestAuditSettings(t *testing.T) {
	load := func(audit any) (*Config, error) {
		c := createDefaultConfig().(*Config)
		err := confmap.NewFromStringMap(map[string]any{"file": "policy.yaml", "audit": audit}).Unmarshal(c)
		if err == nil {
			err = c.Validate()
		}
		return c, err
	}
	for name, audit := range map[string]any{"empty": map[string]any{}, "nothing": nil} {
		c, err := load(audit)
		require.NoError(t, err, name)
		require.True(t, c.Audit.HasValue(), name)
		assert.Equal(t, "/var/log/weir/audit.log", c.Audit.Get().Path)
	}
	c := createDefaultConfig().(*Config)
	assert.False(t, c.Audit.HasValue())
	for key, values := range map[string]map[any]string{
		"path":             {"audit.log": "absolute path", "": "absolute path", "/var/log/": "absolute path"},
		"max_size":         {"50": "at least 64KiB", "50 bytes": "is not a size", "-1MiB": "is not a size", "9999999999GiB": "is not a size"},
		"rotate_interval":  {"-1s": "negative"},
		"max_age":          {"-1s": "negative"},
		"max_backups":      {-1: "negative"},
		"lines_per_second": {0: "at least 1"},
		"nonsense":         {1: "invalid keys"},
	} {
		for value, want := range values {
			_, err := load(map[string]any{key: value})
			assert.ErrorContains(t, err, want, "%s: %v", key, value)
		}
	}
	for text, want := range map[string]int64{"65536": 65536, "1KiB": 1024, "50MiB": 50 << 20, "2 GiB": 2 << 30} {
		size, err := parseSize(text)
		assert.NoError(t, err)
		assert.Equal(t, want, size)
	}
}
