package ebpfconnectionreceiver

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

// declared is what metadata.yaml says of what comes out.
type declared struct {
	Attributes map[string]struct {
		Type        string   `yaml:"type"`
		Description string   `yaml:"description"`
		Enum        []string `yaml:"enum"`
		Level       string   `yaml:"requirement_level"`
	} `yaml:"attributes"`
	Events map[string]struct {
		Attributes []string `yaml:"attributes"`
	} `yaml:"events"`
	Metrics map[string]struct {
		Unit        string   `yaml:"unit"`
		Description string   `yaml:"description"`
		Attributes  []string `yaml:"attributes"`
		Sum         struct {
			Monotonic bool `yaml:"monotonic"`
		} `yaml:"sum"`
	} `yaml:"metrics"`
}

func readDeclared(t *testing.T) declared {
	t.Helper()
	content, err := os.ReadFile("metadata.yaml")
	require.NoError(t, err)
	var d declared
	require.NoError(t, yaml.Unmarshal(content, &d))
	require.NotEmpty(t, d.Events)
	return d
}

// emitted gathers the sets of attributes that were seen under a name.
type emitted map[string][]pcommon.Map

func (e emitted) add(name string, attributes pcommon.Map) { e[name] = append(e[name], attributes) }

// check compares what was seen under name with what is declared for it: every
// attribute is declared and every declared one seen, with its type; what is
// required is always there, what is conditional sometimes not; of enums all
// values are seen and no others.
func (e emitted) check(t *testing.T, d declared, name string, attributes []string) {
	t.Helper()
	seen, values := make(map[string]int), make(map[string]map[string]bool)
	for _, set := range e[name] {
		for key, value := range set.All() {
			if strings.HasPrefix(key, "http.request.header.") {
				// Named by the configuration, not by metadata.yaml.
				assert.Equal(t, pcommon.ValueTypeSlice, value.Type())
				continue
			}
			seen[key]++
			if values[key] == nil {
				values[key] = make(map[string]bool)
			}
			values[key][value.AsString()] = true
			wantType := map[string]pcommon.ValueType{
				"string": pcommon.ValueTypeStr, "int": pcommon.ValueTypeInt, "double": pcommon.ValueTypeDouble,
				"bool": pcommon.ValueTypeBool, "slice": pcommon.ValueTypeSlice,
			}[d.Attributes[key].Type]
			assert.Equal(t, wantType, value.Type(), "%s: type of %s", name, key)
		}
	}
	assert.ElementsMatch(t, attributes, keys(seen), name)
	for key, times := range seen {
		attribute := d.Attributes[key]
		if attribute.Level == "required" {
			assert.Equal(t, len(e[name]), times, "%s: %s is required", name, key)
		} else {
			assert.Less(t, times, len(e[name]), "%s: %s is conditional", name, key)
		}
		if attribute.Enum != nil {
			assert.ElementsMatch(t, attribute.Enum, keys(values[key]), "%s: values of %s", name, key)
		}
		switch key {
		case "weir.action", "weir.reason", "tls.protocol.name", "weir.tls.certificate.source":
			// mdatagen's tests do not compile for conditional enums.
			for value := range values[key] {
				assert.Contains(t, attribute.Description, value)
			}
		}
	}
}

func keys[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// varieties makes records of that kind with every value that an enum of the
// contract has.
func varieties(kind telemetry.Kind) []telemetry.Connection {
	records := connections(kind, 40)
	for i := range records {
		c := &records[i]
		c.End = telemetry.EndReason(1 + i%int(telemetry.EndEvicted))
		c.Direction = packet.Direction(1 + i%3)
		c.Judgement.Verdict = telemetry.Verdict(i % 4)
		c.Judgement.Action = telemetry.Action(i % 3)
		c.Judgement.Reason = telemetry.Reason(i % (int(telemetry.ReasonNotSeen) + 1))
		c.Judgement.Prevent = i%2 == 0
		if i%3 == 0 {
			c.Judgement.Rule, c.Judgement.Generation = "web", 3
			c.Judgement.ShadowRule, c.Judgement.ShadowAction = "strict", telemetry.Block
			if kind != telemetry.ConnectionStart {
				c.Protocol = "http"
			}
		}
		if i%4 == 0 {
			c.Tuple = packet.Tuple{Source: netip.MustParseAddr("2001:db8::1"), Destination: netip.MustParseAddr("2001:db8::2"), Protocol: packet.ICMPv6, ICMPType: 128}
		}
		if i%5 == 0 {
			c.Count, c.Interface = 7, ""
		}
	}
	return records
}

// exchangeVarieties makes exchanges of all kinds, likewise: with everything that can
// be there, and with what must be.
func exchangeVarieties() []telemetry.Exchange {
	var all []telemetry.Exchange
	for i, c := range varieties(telemetry.ConnectionStart) {
		for _, e := range exchanges() {
			e.Connection.Direction, e.Judgement = c.Direction, c.Judgement
			if i%2 == 0 {
				e.Connection.Interface, e.Protocol = "", ""
				e.Connection.Tuple = packet.Tuple{Source: netip.MustParseAddr("2001:db8::1"), Destination: netip.MustParseAddr("2001:db8::2"), Protocol: 132}
			} else if e.DNS == nil {
				e.Version = "1.1"
			}
			service, transport := []string{"dns", "mdns", "llmnr"}[i%3], []string{"udp", "tcp"}[i%2]
			switch {
			case i%5 == 0: // nothing could be read
				e.HTTP, e.TLS, e.DNS, e.SSH = bare(&e, service, transport)
			case e.HTTP != nil:
				e.HTTP = &telemetry.HTTPExchange{
					Method: []string{"GET", "BREW"}[i%2], Scheme: "http", Path: "/", Query: "a", HasQuery: true, Host: "example.com", Port: 8080,
					UserAgent: "curl", Headers: map[string][]string{"x-env": {"prod"}}, Status: 200,
				}
			case e.TLS != nil:
				e.TLS = &telemetry.TLSExchange{
					ServerName: "example.com", Version: []string{"1.3", "3.0"}[i%2], Cipher: "TLS_AES_128_GCM_SHA256", NextProtocol: "h2",
					Established: true, JA3: "a", JA4: "b", Subject: "CN=a", Issuer: "CN=b", NotBefore: began, NotAfter: began, SHA256: "00",
					CertificateSource: telemetry.CertificateSource(1 + i%3),
				}
			case e.DNS != nil:
				e.DNS = &telemetry.DNSExchange{
					Name: "example.com", Type: "A", Answers: []string{"192.0.2.1"}, ResponseCode: "NOERROR", Service: service, Transport: transport,
				}
			case e.SSH != nil:
				e.SSH = &telemetry.SSHExchange{ClientSoftware: "a", ServerSoftware: "b", ClientKey: "c", HostKey: "d", HASSH: "e"}
			}
			all = append(all, e)
		}
	}
	return all
}

// bare is what is set of an exchange of the kind of e in any case.
func bare(e *telemetry.Exchange, service, transport string) (*telemetry.HTTPExchange, *telemetry.TLSExchange, *telemetry.DNSExchange, *telemetry.SSHExchange) {
	switch e.Kind {
	case telemetry.HTTPRequest:
		return &telemetry.HTTPExchange{}, nil, nil, nil
	case telemetry.TLSHandshake:
		return nil, &telemetry.TLSExchange{}, nil, nil
	case telemetry.DNSQuery:
		return nil, nil, &telemetry.DNSExchange{Service: service, Transport: transport}, nil
	}
	return nil, nil, nil, &telemetry.SSHExchange{}
}

func TestEventsAreAsDeclared(t *testing.T) {
	d, seen := readDeclared(t), make(emitted)
	records := plog.NewLogRecordSlice()
	for kind := telemetry.ConnectionStart; kind <= telemetry.ConnectionEnd; kind++ {
		for _, c := range varieties(kind) {
			telemetry.AppendLog(records, &c)
		}
	}
	for _, e := range exchangeVarieties() {
		telemetry.AppendExchangeLog(records, &e)
	}
	for change := telemetry.PolicyLoaded; change <= telemetry.PolicyRolledBack; change++ {
		telemetry.AppendPolicyChange(records, &telemetry.PolicyChange{Change: change})
		telemetry.AppendPolicyChange(records, &telemetry.PolicyChange{Change: change, Generation: 1, Source: "a", Detail: "b"})
	}
	for i := range records.Len() {
		seen.add(records.At(i).EventName(), records.At(i).Attributes())
	}
	assert.Equal(t, keys(d.Events), keys(seen))
	for name, event := range d.Events {
		seen.check(t, d, name, event.Attributes)
	}
}

func TestMetricsAreAsDeclared(t *testing.T) {
	d, seen := readDeclared(t), make(emitted)
	var totals telemetry.Totals
	for i := range 132 {
		verdict, direction := telemetry.Verdict(i%4), packet.Direction(1+i%3)
		totals.Verdicts = append(totals.Verdicts, telemetry.VerdictTotal{
			Verdict: verdict, Action: telemetry.Action(i % 3), Reason: telemetry.Reason(i % 11), Direction: direction,
		})
		totals.Traffic = append(totals.Traffic, telemetry.TrafficTotal{FromSource: i%2 == 0, Verdict: verdict, Direction: direction})
	}
	totals.Rules = []telemetry.RuleTotal{{Rule: "a"}, {Rule: "b"}}
	durations := telemetry.NewDurations(began)
	durations.Observe(varieties(telemetry.ConnectionEnd))
	counted := telemetry.NewExchanges(began)
	counted.Observe(exchangeVarieties())

	every := createDefaultConfig().(*Config).Metrics
	metrics := pmetric.NewMetricSlice()
	telemetry.NewMeter(every.wanted(), 1).Append(metrics, &totals, &telemetry.Counted{Durations: durations, Exchanges: counted}, began)

	names := make(map[string]bool)
	for i := range metrics.Len() {
		metric := metrics.At(i)
		names[metric.Name()] = true
		if metric.Type() == pmetric.MetricTypeHistogram {
			for j := range metric.Histogram().DataPoints().Len() {
				seen.add(metric.Name(), metric.Histogram().DataPoints().At(j).Attributes())
			}
			continue
		}
		declared := d.Metrics[metric.Name()]
		assert.Equal(t, declared.Unit, metric.Unit(), metric.Name())
		assert.Equal(t, declared.Description, metric.Description(), metric.Name())
		assert.Equal(t, declared.Sum.Monotonic, metric.Sum().IsMonotonic(), metric.Name())
		assert.Equal(t, pmetric.AggregationTemporalityCumulative, metric.Sum().AggregationTemporality(), metric.Name())
		for j := range metric.Sum().DataPoints().Len() {
			seen.add(metric.Name(), metric.Sum().DataPoints().At(j).Attributes())
		}
	}
	// The histograms are declared by MetricsConfig alone.
	wanted := append(keys(d.Metrics), telemetry.MetricDuration, telemetry.MetricDNSDuration)
	assert.ElementsMatch(t, wanted, keys(names))
	for name, metric := range d.Metrics {
		seen.check(t, d, name, metric.Attributes)
	}
	seen.check(t, d, telemetry.MetricDuration, []string{"network.transport", "weir.direction", "weir.verdict"})
	seen.check(t, d, telemetry.MetricDNSDuration, []string{"weir.dns.response_code", "weir.dns.service", "weir.direction"})
}
