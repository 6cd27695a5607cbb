package policy_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/internal/policy"
)

func serviceSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(policy.ServiceSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("weir.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("weir.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const whole = `
mode: prevent
rules: [{name: web, action: allow, layer4: {tcp: 443}}]
logging:
  level: warn
  audit: {path: /var/log/weir/audit.log, max_size: 100MiB, rotate_interval: 1d, max_age: 30d, max_backups: 0, lines_per_second: 100}
otel:
  endpoint: collector.example.com:4317
  protocol: grpc
  headers: {authorization: "Bearer ${env:TOKEN}"}
  tls: {ca_file: /etc/weir/ca.pem, cert_file: /etc/weir/c.pem, key_file: /etc/weir/k.pem, server_name: collector, insecure_skip_verify: true}
  signals: [logs, metrics]
event_publisher:
  api: {endpoint: /run/weir/api.sock}
  otlp: {endpoint: "https://events.example.com:4318", protocol: http}
  kafka: {brokers: [kafka.example.com:9092], topic: connections, tls: {}, sasl: {mechanism: PLAIN, username: weir, password: "${env:KAFKA}"}}
  file: {path: /var/log/weir/events.json, format: json, max_size: 100MiB, max_age: 30d, max_backups: 5}
`

func TestService(t *testing.T) {
	s, err := policy.LoadService(policy.Document{Name: "weir.yaml", Content: []byte(whole)})
	if err != nil {
		t.Fatal(err)
	}
	if s.Logging.Level != "warn" || s.Logging.Audit.MaxSize != "100MiB" || *s.Logging.Audit.MaxBackups != 0 || s.OTel.HTTP || len(s.OTel.Signals) != 2 ||
		!s.OTel.TLS.SkipVerify || s.OTel.TLS.ServerName != "collector" || s.OTel.Headers["authorization"] != "Bearer ${env:TOKEN}" ||
		!s.Publisher.OTLP.HTTP || s.Publisher.Kafka.Topic != "connections" || s.Publisher.Kafka.Password != "${env:KAFKA}" || s.Publisher.Kafka.Line != 16 ||
		s.Publisher.API.Endpoint != "/run/weir/api.sock" || s.Publisher.File.MaxMegabytes != 100 || s.Publisher.File.MaxDays != 30 {
		t.Errorf("%+v", s)
	}
	if _, _, err := policy.Load(policy.Document{Name: "weir.yaml", Content: []byte(whole), Service: true}); err != nil {
		t.Error(err)
	}
	if _, _, err := policy.Load(policy.Document{Name: "weir.yaml", Content: []byte(whole)}); err == nil || !strings.Contains(err.Error(), `unknown key "otel"`) {
		t.Errorf("a policy with keys that nobody reads: %v", err)
	}
}

// What is wrong with the policy is not LoadService's to say.
func TestServiceIgnoresThePolicy(t *testing.T) {
	s, err := policy.LoadService(policy.Document{Name: "p", Content: []byte("mode: maybe\nrules: 7\notel: {endpoint: 'a:1'}")})
	if err != nil || s.OTel == nil {
		t.Errorf("%+v %v", s, err)
	}
}

// TestServiceErrors has what is refused, by the loader and, where the shape tells,
// by the schema.
func TestServiceErrors(t *testing.T) {
	compiled := serviceSchema(t)
	tests := map[string]struct {
		text, want string
		beyond     bool // the schema cannot know
	}{
		"unknown key":       {"oteel: {}", `p:1:1: oteel: unknown key "oteel"; accepted: mode, default_action, on_error, reject, non_ip, safeguards, groups, rules, logging, otel, event_publisher; did you mean otel?`, false},
		"level":             {"logging: {level: loud}", `p:1:18: logging.level: "loud" is not known here; accepted: debug, info, warn, error`, false},
		"no mapping":        {"logging: info", `logging: found "info"; accepted: a mapping with the keys level, audit`, false},
		"relative":          {"logging: {audit: {path: audit.log}}", `logging.audit.path: "audit.log" is not an absolute path; accepted: an absolute path`, false},
		"size":              {"logging: {audit: {max_size: 10MB}}", `logging.audit.max_size: "10MB" is not a size; accepted: a size such as 512KiB, 100MiB`, false},
		"octal size":        {"logging: {audit: {max_size: '010MiB'}}", `logging.audit.max_size: "010MiB" is not a size`, false},
		"octal backups":     {"logging: {audit: {max_backups: 010}}", `logging.audit.max_backups: "010" is not a number here`, true},
		"backups":           {"logging: {audit: {max_backups: -1}}", `logging.audit.max_backups: "-1" is not a number here; accepted: a number from 0`, false},
		"no endpoint":       {"otel: {}", "otel: there is no endpoint; accepted: a host and a port, such as collector.example.com:4317", false},
		"no URL":            {"otel: {endpoint: 'collector:4318', protocol: http}", `otel.endpoint: "collector:4318" is not a URL; accepted: a URL such as https://collector.example.com:4318; did you mean https://collector:4318?`, true},
		"no port":           {"otel: {endpoint: collector}", `otel.endpoint: "collector" has no port; accepted: a host and a port`, true},
		"bad port":          {"otel: {endpoint: 'collector:0'}", `otel.endpoint: "collector:0" has no port`, true},
		"IPv6":              {"otel: {endpoint: '2001:db8::1:4317'}", `has no port`, true},
		"scheme":            {"otel: {endpoint: 'ftp://collector:21'}", `otel.endpoint: "ftp://collector:21" is not an endpoint`, true},
		"user":              {"otel: {endpoint: 'https://u:p@collector:21', protocol: http}", `otel.endpoint: a URL with a user in it; accepted: a URL such as https://collector.example.com:4318; write headers:`, true},
		"path in gRPC":      {"otel: {endpoint: 'https://collector:4317/v1'}", `has a path, and gRPC has none; accepted: a host and a port, such as collector.example.com:4317; for HTTP write protocol: http`, true},
		"protocol":          {"otel: {endpoint: 'a:1', protocol: htp}", `otel.protocol: "htp" is not known here; accepted: grpc, http; did you mean http?`, false},
		"signals":           {"otel: {endpoint: 'a:1', signals: [log]}", `otel.signals[0]: "log" is not known here; accepted: logs, metrics, traces; did you mean logs?`, false},
		"half a pair":       {"otel: {endpoint: 'a:1', tls: {cert_file: /c}}", `otel.tls: cert_file and key_file go together; accepted: both, or neither`, true},
		"signals of events": {"event_publisher: {otlp: {endpoint: 'a:1', signals: logs}}", `event_publisher.otlp.signals: unknown key "signals"`, false},
		"publisher":         {"event_publisher: {nats: {}}", `event_publisher.nats: unknown key "nats"; accepted: api, otlp, kafka, file`, false},
		"API over TCP":      {"event_publisher: {api: {endpoint: '127.0.0.1:4319'}}", `event_publisher.api.endpoint: "127.0.0.1:4319" is not an absolute path; accepted: an absolute path`, false},
		"key of the API":    {"event_publisher: {api: {auth: x}}", `event_publisher.api.auth: unknown key "auth"; accepted: endpoint`, false},
		"no brokers":        {"event_publisher: {kafka: {}}", "event_publisher.kafka: there are no brokers; accepted: a broker such as kafka.example.com:9092", false},
		"broker":            {"event_publisher: {kafka: {brokers: kafka}}", `event_publisher.kafka.brokers: "kafka" has no port`, true},
		"half of sasl":      {"event_publisher: {kafka: {brokers: 'a:1', sasl: {username: a, mechanism: PLAIN}}}", "event_publisher.kafka.sasl: there is no password", false},
		"no path":           {"event_publisher: {file: {}}", "event_publisher.file: there is no path; accepted: an absolute path", false},
		"part of a MiB":     {"event_publisher: {file: {path: /x, max_size: 100KiB}}", `event_publisher.file.max_size: "100KiB" is not a whole number of MiB`, true},
		"part of a day":     {"event_publisher: {file: {path: /x, max_age: 36h}}", `event_publisher.file.max_age: "36h" is not a whole number of days`, true},
		"no YAML":           {"otel: [", "p:1:", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := policy.LoadService(policy.Document{Name: "p", Content: []byte(tt.text)})
			if err == nil || s != nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "p:1") {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			var value any
			if yaml.Unmarshal([]byte(tt.text), &value) != nil {
				return
			}
			if refused := compiled.Validate(value) != nil; refused == tt.beyond {
				t.Errorf("the schema refuses it: %t", refused)
			}
		})
	}
}

func TestServiceSchemaAccepts(t *testing.T) {
	compiled := serviceSchema(t)
	for _, text := range []string{
		whole, "mode: detect", "otel: {endpoint: '[2001:db8::1]:4317', signals: logs}", "otel: {endpoint: '${env:ENDPOINT}'}",
		"otel: {endpoint: https://a.example/otlp, protocol: http}", "event_publisher: {file: {path: /dev/stdout, format: lines}}", "event_publisher: {}", "event_publisher: {api: {}}",
	} {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(value); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
		if _, err := policy.LoadService(policy.Document{Name: "p", Content: []byte(text)}); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
	var schema map[string]any
	if err := json.Unmarshal(policy.ServiceSchema(), &schema); err != nil || schema["title"] != "Weir in one file" {
		t.Errorf("%v %v", err, schema["title"])
	}
}

func TestWithoutService(t *testing.T) {
	for text, want := range map[string]string{
		"# head\nmode: detect # now\notel: {endpoint: 'a:1'} # secret\nrules: []\n": "# head\nmode: detect # now\nrules: []\n",
		`{"otel": {"endpoint": "a:1"}, "mode": "prevent"}`:                          "{\"mode\": \"prevent\"}\n",
		"logging: &x {level: info}\n":                                               "{}\n",
	} {
		got, err := policy.WithoutService([]byte(text))
		if err != nil || string(got) != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
	for _, text := range []string{"[", "- a", "", strings.Repeat("#", 17<<20)} {
		if _, err := policy.WithoutService([]byte(text)); err == nil {
			t.Errorf("%.20q is taken for a file", text)
		}
	}
	got, err := policy.WithoutService([]byte(whole))
	if err != nil || strings.Contains(string(got), "env:") || strings.Contains(string(got), "endpoint") {
		t.Errorf("%v: %s", err, got)
	}
}

func FuzzService(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("otel: {endpoint: 'a:1'}\nevent_publisher: {file: {path: /x}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := policy.LoadService(policy.Document{Name: "p", Content: text})
		if (s == nil) != (err != nil) {
			t.Errorf("%+v and %v", s, err)
		}
	})
}
