// Package onefile turns a file for the scheme weir: into a configuration of the
// Collector. It is pure.
package onefile

import (
	"cmp"
	"strings"

	"github.com/weirnet/weir/internal/policy"
)

// Options are what a configuration is made with besides the file's content.
type Options struct {
	// File is the path of the file: the rules stay in it.
	File string
	// AllowInsecureFiles is the setting of connection_policy.
	AllowInsecureFiles bool
}

// Configuration is the Collector's, as the types that confmap takes.
func Configuration(s *policy.Service, o Options) map[string]any {
	b := &builder{exporters: map[string]any{}, pipelines: map[string][]any{}}
	extension := map[string]any{"file": o.File, "one_file": true}
	if o.AllowInsecureFiles {
		extension["allow_insecure_files"] = true
	}
	b.extensions = map[string]any{"connection_policy": extension}
	if s.OTel != nil {
		b.otlp("otel", s.OTel, s.OTel.Signals)
	}
	if p := s.Publisher; p != nil {
		b.publisher(p)
	}
	if len(b.pipelines) == 0 {
		// A receiver wants a pipeline. Where nobody is to be told, whoever started it is.
		b.file("lines", &policy.EventFile{Path: "/dev/stdout", Lines: true})
	}
	config := map[string]any{
		"extensions": b.extensions,
		"receivers":  map[string]any{"ebpf_connection": map[string]any{"policy": "connection_policy"}},
		"exporters":  b.exporters,
		"service": map[string]any{
			"extensions": b.started(),
			"pipelines":  b.pipes(),
		},
	}
	if l := s.Logging; l != nil {
		if l.Audit != nil {
			extension["audit"] = audit(l.Audit)
		}
		if l.Level != "" {
			config["service"].(map[string]any)["telemetry"] = map[string]any{"logs": map[string]any{"level": l.Level}}
		}
	}
	return config
}

// builder collects components.
type builder struct {
	extensions, exporters map[string]any
	pipelines             map[string][]any // exporters by signal
}

// put adds an exporter to the pipelines of some signals.
func (b *builder) put(id string, config map[string]any, signals ...string) {
	b.exporters[id] = config
	for _, signal := range signals {
		b.pipelines[signal] = append(b.pipelines[signal], id)
	}
}

func (b *builder) started() []any {
	ids := []any{"connection_policy"}
	for _, id := range []string{"connection_api", "connection_text"} {
		if _, is := b.extensions[id]; is {
			ids = append(ids, id)
		}
	}
	return ids
}

func (b *builder) pipes() map[string]any {
	pipes := map[string]any{}
	for signal, exporters := range b.pipelines {
		pipes[signal] = map[string]any{"receivers": []any{"ebpf_connection"}, "exporters": exporters}
	}
	return pipes
}

// audit leaves out what has the default of the extension.
func audit(a *policy.Audit) map[string]any {
	config := map[string]any{}
	if a.Path != "" {
		config["path"] = a.Path
	}
	if a.MaxSize != "" {
		config["max_size"] = a.MaxSize
	}
	if a.RotateInterval > 0 {
		config["rotate_interval"] = a.RotateInterval.String()
	}
	if a.MaxAge > 0 {
		config["max_age"] = a.MaxAge.String()
	}
	if a.MaxBackups != nil {
		config["max_backups"] = *a.MaxBackups
	}
	if a.LinesPerSecond != nil {
		config["lines_per_second"] = *a.LinesPerSecond
	}
	return config
}

// publisher adds what log events go to besides.
func (b *builder) publisher(p *policy.Publisher) {
	if p.API != nil {
		config := map[string]any{}
		if p.API.Endpoint != "" {
			config["endpoint"] = p.API.Endpoint
		}
		b.extensions["connection_api"] = config
	}
	if p.OTLP != nil {
		b.otlp("events", p.OTLP, []string{"logs"})
	}
	if k := p.Kafka; k != nil {
		config := map[string]any{
			"brokers": anyList(k.Brokers),
			"logs":    map[string]any{"topic": k.Topic, "encoding": "otlp_json"},
		}
		if k.TLS != nil {
			config["tls"] = client(k.TLS)
		}
		if k.Mechanism != "" {
			config["auth"] = map[string]any{"sasl": map[string]any{
				"mechanism": k.Mechanism, "username": k.User, "password": k.Password,
			}}
		}
		b.put("kafka/events", config, "logs")
	}
	if p.File != nil {
		b.file("events", p.File)
	}
}

func (b *builder) otlp(name string, o *policy.OTLP, signals []string) {
	id, config := "otlp_grpc/", map[string]any{"endpoint": o.Endpoint}
	if o.HTTP {
		id = "otlp_http/"
	}
	if len(o.Headers) > 0 {
		headers := map[string]any{}
		for name, value := range o.Headers {
			headers[name] = value
		}
		config["headers"] = headers
	}
	if o.TLS != nil {
		config["tls"] = client(o.TLS)
	}
	b.put(id+name, config, signals...)
}

func client(t *policy.TLSClient) map[string]any {
	config := map[string]any{}
	for key, on := range map[string]bool{"insecure": t.Insecure, "insecure_skip_verify": t.SkipVerify} {
		if on {
			config[key] = true
		}
	}
	for key, text := range map[string]string{
		"ca_file": t.CAFile, "cert_file": t.CertFile, "key_file": t.KeyFile, "server_name_override": t.ServerName,
	} {
		if text != "" {
			config[key] = text
		}
	}
	return config
}

// file adds a file of events.
func (b *builder) file(name string, e *policy.EventFile) {
	config := map[string]any{"path": e.Path, "flush_interval": "200ms"}
	if e.Lines {
		b.extensions["connection_text"] = map[string]any{}
		config["encoding"] = "connection_text"
	}
	// What is written to a device is not set aside; to add to a file and to set it
	// aside are two ways of the exporter.
	if strings.HasPrefix(e.Path, "/dev/") {
		config["append"] = true
	} else {
		rotation := map[string]any{"max_megabytes": cmp.Or(e.MaxMegabytes, 100), "max_backups": cmp.Or(e.MaxBackups, 10)}
		if e.MaxDays > 0 {
			rotation["max_days"] = e.MaxDays
		}
		config["rotation"] = rotation
	}
	b.put("file/"+name, config, "logs")
}

func anyList(texts []string) []any {
	list := make([]any, 0, len(texts))
	for _, text := range texts {
		list = append(list, text)
	}
	return list
}
