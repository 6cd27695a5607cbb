package policy

import (
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Service is what a file for the scheme weir: says besides the policy: where to
// what is seen goes. DESIGN calls it one file.
type Service struct {
	Logging *Logging
	// OTel is where all goes; nil: nowhere.
	OTel *OTLP
	// Publisher is where log events go besides; nil: nowhere.
	Publisher *Publisher
}

// Logging is about what Weir says of itself.
type Logging struct {
	// Level is debug, info, warn or error; empty: info.
	Level string
	// Audit is nil without an audit log.
	Audit *Audit
}

// Audit is an audit log; what is zero or empty has the default of the extension
// connection_policy.
type Audit struct {
	Path                   string
	MaxSize                string
	RotateInterval, MaxAge time.Duration
	MaxBackups             *int
	LinesPerSecond         *int
}

// OTLP is an endpoint.
type OTLP struct {
	// Endpoint is host:port, or a URL.
	Endpoint string
	// HTTP instead of gRPC.
	HTTP bool
	// Headers are sent with each request. Their values may be secret.
	Headers map[string]string
	TLS     *TLSClient
	// Signals are logs, metrics and traces, or some of them.
	Signals []string
}

// TLSClient are the settings of TLS.
type TLSClient struct {
	// Insecure is without TLS, SkipVerify with a server that nobody vouches for.
	Insecure, SkipVerify      bool
	CAFile, CertFile, KeyFile string
	ServerName                string
}

// Publisher is where log events go.
type Publisher struct {
	// API is where they can be subscribed to; nil: nowhere.
	API   *APISocket
	OTLP  *OTLP
	Kafka *Kafka
	File  *EventFile
}

// APISocket is where the API is.
type APISocket struct {
	// Endpoint is the path of a unix socket; empty: the default of the extension
	// connection_api.
	Endpoint string
}

// Kafka is a topic.
type Kafka struct {
	Brokers []string
	Topic   string
	TLS     *TLSClient
	// Mechanism, User and Password are those of SASL; empty: none.
	Mechanism, User, Password string
	// Line is where it stands in the file.
	Line int
}

// EventFile is a file that events are written to.
type EventFile struct {
	Path string
	// Lines: a readable line for each event instead of OTLP JSON.
	Lines bool
	// MaxMegabytes is the size in MiB at which another is begun, MaxDays and
	// MaxBackups bound those that were set aside. 0 is the default: 100 MiB, for ever,
	// and 10.
	MaxMegabytes, MaxDays, MaxBackups int
}

// serviceKeys are the keys of such a file that are not the policy's.
var serviceKeys = []string{"logging", "otel", "event_publisher"}

// ServiceKeysOf are those that a file has, of one that can be read.
func ServiceKeysOf(doc Document) []string {
	d := &decoder{doc: doc}
	var keys []string
	if d.tree = d.parse(doc.Content); d.tree != nil {
		f, _ := d.cursor(d.tree.root).mapping(slices.Concat(policyKeys, serviceKeys))
		for _, v := range f {
			if contains(serviceKeys, v.key) {
				keys = append(keys, strings.Clone(v.key))
			}
		}
	}
	return keys
}

// WithoutService is the content of a file for the scheme weir: without those keys,
// which may hold secrets: the policy alone. It is written anew; comments stay.
func WithoutService(content []byte) ([]byte, error) {
	if len(content) > maxLibrarySize {
		return nil, fmt.Errorf("the file has %d bytes, and its policy can be told apart in files of at most %d", len(content), maxLibrarySize)
	}
	root, _, err := parseYAML(content)
	if err != nil {
		return nil, err
	}
	if root == nil || len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("the file is no mapping")
	}
	m := root.Content[0]
	kept := m.Content[:0]
	for i := 0; i+1 < len(m.Content); i += 2 {
		if !contains(serviceKeys, m.Content[i].Value) {
			kept = append(kept, m.Content[i], m.Content[i+1])
		}
	}
	m.Content = kept
	return yaml.Marshal(root)
}

// LoadService reads those keys, whatever the others say: a policy that is wrong
// is no reason to send what is seen elsewhere. The error is of type Errors.
func LoadService(doc Document) (*Service, error) {
	d := &decoder{doc: doc}
	d.tree = d.parse(doc.Content)
	s := &Service{}
	if d.tree != nil && len(d.errs) == 0 {
		f, _ := d.cursor(d.tree.root).mapping(slices.Concat(policyKeys, serviceKeys))
		for _, v := range f {
			switch v.key {
			case "logging":
				s.Logging = v.logging()
			case "otel":
				s.OTel = v.otlp(otelKeys)
			case "event_publisher":
				s.Publisher = v.publisher()
			}
		}
	}
	if d.more > 0 {
		d.errs = append(d.errs, &Error{File: doc.Name, Found: fmt.Sprintf("%d more problems are not shown", d.more)})
	}
	if len(d.errs) > 0 {
		return nil, d.errs
	}
	return s, nil
}

//go:embed service.schema.json
var serviceSchema []byte

// ServiceSchema is the JSON Schema (draft 2020-12) of files for the scheme weir:.
func ServiceSchema() []byte {
	var whole, more map[string]any
	for schema, into := range map[*[]byte]*map[string]any{&schema: &whole, &serviceSchema: &more} {
		if err := json.Unmarshal(*schema, into); err != nil {
			panic(err) // they are part of this package
		}
	}
	for key, value := range more {
		into, is := whole[key].(map[string]any)
		if !is {
			whole[key] = value
			continue
		}
		for name, part := range value.(map[string]any) {
			into[name] = part
		}
	}
	text, err := json.MarshalIndent(whole, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(text, '\n')
}
