package policy

import (
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	loggingKeys   = []string{"level", "audit"}
	auditKeys     = []string{"path", "max_size", "rotate_interval", "max_age", "max_backups", "lines_per_second"}
	otlpKeys      = []string{"endpoint", "protocol", "headers", "tls"}
	otelKeys      = append(otlpKeys[:len(otlpKeys):len(otlpKeys)], "signals")
	tlsClientKeys = []string{"insecure", "insecure_skip_verify", "ca_file", "cert_file", "key_file", "server_name"}
)

func (c *cursor) logging() *Logging {
	l := &Logging{}
	f, _ := c.mapping(loggingKeys)
	if v := f.get("level"); v != nil {
		levels := []string{"debug", "info", "warn", "error"}
		i, _ := v.word(levels...)
		l.Level = levels[i]
	}
	if v := f.get("audit"); v != nil {
		l.Audit = v.audit()
	}
	return l
}

func (c *cursor) audit() *Audit {
	a := &Audit{}
	f, _ := c.mapping(auditKeys)
	for _, v := range f {
		switch v.key {
		case "path":
			a.Path = v.absolutePath()
		case "max_size":
			if n := v.size(); n > 0 {
				a.MaxSize = v.n.Value
			}
		case "rotate_interval":
			a.RotateInterval = v.duration()
		case "max_age":
			a.MaxAge = v.duration()
		case "max_backups":
			a.MaxBackups = v.whole(1 << 20)
		case "lines_per_second":
			a.LinesPerSecond = v.whole(1 << 20)
		}
	}
	return a
}

// otlp reads an endpoint; keys are those that it may have.
func (c *cursor) otlp(keys []string) *OTLP {
	o := &OTLP{}
	f, ok := c.mapping(keys)
	if v := f.get("protocol"); v != nil {
		i, _ := v.word("grpc", "http")
		o.HTTP = i == 1
	}
	if v := f.get("tls"); v != nil {
		o.TLS = v.tlsClient()
	}
	if v := f.get("headers"); v != nil {
		o.Headers = v.headersSent()
	}
	o.Signals = []string{"logs", "metrics", "traces"}
	if v := f.get("signals"); v != nil {
		o.Signals = v.words("logs", "metrics", "traces")
	}
	switch v := f.get("endpoint"); {
	case v != nil:
		o.Endpoint = v.endpoint(o)
	case ok:
		c.fail("there is no endpoint", acceptedEndpoint(o), "")
	}
	return o
}

func acceptedEndpoint(o *OTLP) string {
	if o.HTTP {
		return "a URL such as https://collector.example.com:4318"
	}
	return "a host and a port, such as collector.example.com:4317"
}

// endpoint checks what the exporter would find out only when it connects. What
// begins with ${ is the Collector's to fill in.
func (c *cursor) endpoint(o *OTLP) string {
	accepted := acceptedEndpoint(o)
	s, ok := c.text(accepted)
	if !ok || strings.Contains(s, "${") {
		return strings.Clone(s)
	}
	host := s
	if scheme, rest, isURL := strings.Cut(s, "://"); isURL {
		u, err := url.Parse(s)
		if strings.Contains(rest, "@") {
			// Not shown: it may have a password.
			c.fail("a URL with a user in it", accepted, "write headers: {authorization: ...}")
			return ""
		}
		if err != nil || scheme != "http" && scheme != "https" || u.Host == "" {
			c.fail(quote(s)+" is not an endpoint", accepted, "")
			return ""
		}
		if host = u.Host; !o.HTTP && strings.Contains(rest, "/") {
			c.fail(quote(s)+" has a path, and gRPC has none", accepted, "for HTTP write protocol: http")
		}
		if o.HTTP && u.Port() == "" {
			return strings.Clone(s)
		}
	} else if o.HTTP {
		c.fail(quote(s)+" is not a URL", accepted, "did you mean https://"+shorten(s)+"?")
		return ""
	}
	if !hasPort(host) {
		c.fail(quote(s)+" has no port", accepted, "")
	}
	return strings.Clone(s)
}

// hasPort says whether it is a host and a port.
func hasPort(s string) bool {
	colon := strings.LastIndexByte(s, ':')
	if colon < 1 {
		return false
	}
	host := s[:colon]
	if strings.Contains(host, ":") && !(host[0] == '[' && host[len(host)-1] == ']') {
		return false
	}
	port, ok := number(s[colon+1:], 65535)
	return ok && port > 0
}

// headersSent reads headers; a value is a text, which may stand for a secret.
func (c *cursor) headersSent() map[string]string {
	headers := map[string]string{}
	f, _ := c.entries("names and values of headers")
	for _, v := range f {
		if value, ok := v.text("the value of the header"); ok {
			headers[strings.Clone(v.key)] = strings.Clone(value)
		}
	}
	return headers
}

func (c *cursor) tlsClient() *TLSClient {
	t := &TLSClient{}
	f, _ := c.mapping(tlsClientKeys)
	for _, v := range f {
		switch v.key {
		case "insecure":
			t.Insecure, _ = v.flag()
		case "insecure_skip_verify":
			t.SkipVerify, _ = v.flag()
		case "ca_file":
			t.CAFile = v.absolutePath()
		case "cert_file":
			t.CertFile = v.absolutePath()
		case "key_file":
			t.KeyFile = v.absolutePath()
		case "server_name":
			s, _ := v.text("a host name")
			t.ServerName = strings.Clone(s)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		c.fail("cert_file and key_file go together", "both, or neither", "")
	}
	return t
}

func (c *cursor) publisher() *Publisher {
	p := &Publisher{}
	f, _ := c.mapping([]string{"api", "otlp", "kafka", "file"})
	for _, v := range f {
		switch v.key {
		case "api":
			p.API = v.apiSocket()
		case "otlp":
			p.OTLP = v.otlp(otlpKeys)
		case "kafka":
			p.Kafka = v.kafka()
		case "file":
			p.File = v.eventFile()
		}
	}
	return p
}

// apiSocket takes no address of TCP: that wants an authenticator, which is an
// extension of its own.
func (c *cursor) apiSocket() *APISocket {
	a := &APISocket{}
	f, _ := c.mapping([]string{"endpoint"})
	if v := f.get("endpoint"); v != nil {
		a.Endpoint = v.absolutePath()
	}
	return a
}

func (c *cursor) kafka() *Kafka {
	const acceptedBroker = "a broker such as kafka.example.com:9092"
	k := &Kafka{Topic: "weir-events", Line: c.line()}
	f, ok := c.mapping([]string{"brokers", "topic", "tls", "sasl"})
	if v := f.get("brokers"); v != nil {
		v.list(acceptedBroker, func(at *cursor) {
			s, ok := at.text(acceptedBroker)
			if ok && !strings.Contains(s, "${") && !hasPort(s) {
				at.fail(quote(s)+" has no port", acceptedBroker, "")
			}
			k.Brokers = append(k.Brokers, strings.Clone(s))
		})
	} else if ok {
		c.fail("there are no brokers", acceptedBroker, "")
	}
	if v := f.get("topic"); v != nil {
		s, _ := v.text("the name of a topic")
		k.Topic = strings.Clone(s)
	}
	if v := f.get("tls"); v != nil {
		k.TLS = v.tlsClient()
	}
	if v := f.get("sasl"); v != nil {
		v.sasl(k)
	}
	return k
}

func (c *cursor) sasl(k *Kafka) {
	mechanisms := []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}
	f, ok := c.mapping([]string{"mechanism", "username", "password"})
	for _, key := range []string{"mechanism", "username", "password"} {
		v := f.get(key)
		if v == nil {
			if ok {
				c.fail("there is no "+key, "mechanism, username and password", "")
			}
			continue
		}
		s := ""
		if key == "mechanism" {
			i, _ := v.word(mechanisms...)
			s = mechanisms[i]
		} else {
			s, _ = v.text("the " + key)
		}
		*map[string]*string{"mechanism": &k.Mechanism, "username": &k.User, "password": &k.Password}[key] = strings.Clone(s)
	}
}

func (c *cursor) eventFile() *EventFile {
	e := &EventFile{}
	f, ok := c.mapping([]string{"path", "format", "max_size", "max_age", "max_backups"})
	for _, v := range f {
		switch v.key {
		case "path":
			e.Path = v.absolutePath()
		case "format":
			i, _ := v.word("json", "lines")
			e.Lines = i == 1
		case "max_size":
			n := v.size()
			if n > 0 && n%(1<<20) != 0 {
				v.fail(quote(v.n.Value)+" is not a whole number of MiB", acceptedSize, "")
			}
			e.MaxMegabytes = int(n >> 20)
		case "max_age":
			d := v.duration()
			if d%day != 0 {
				v.fail(quote(v.n.Value)+" is not a whole number of days", "a number of days such as 30d", "")
			}
			e.MaxDays = int(d / day)
		case "max_backups":
			if n := v.whole(1 << 20); n != nil {
				e.MaxBackups = *n
			}
		}
	}
	if e.Path == "" && ok && f.get("path") == nil {
		c.fail("there is no path", acceptedAbsolutePath, "")
	}
	return e
}

const (
	day                  = 24 * 3600 * 1e9
	acceptedAbsolutePath = "an absolute path, such as /var/log/weir/events.json"
	acceptedSize         = "a size such as 512KiB, 100MiB or 1GiB"
)

// absolutePath reads the path of a file. A service has no folder that it could be
// relative to.
func (c *cursor) absolutePath() string {
	s, ok := c.text(acceptedAbsolutePath)
	if ok && !filepath.IsAbs(s) && !strings.Contains(s, "${") {
		c.fail(quote(s)+" is not an absolute path", acceptedAbsolutePath, "")
	}
	return strings.Clone(s)
}

// size reads a number of bytes.
func (c *cursor) size() int64 {
	s, ok := c.text(acceptedSize)
	if !ok {
		return 0
	}
	for _, unit := range []struct {
		suffix string
		shift  uint
	}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"", 0}} {
		digits, has := strings.CutSuffix(s, unit.suffix)
		if !has {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 31)
		if err == nil && digits[0] != '0' {
			return int64(n) << unit.shift
		}
		break
	}
	c.fail(quote(s)+" is not a size", acceptedSize, "")
	return 0
}

// whole reads a number from 0 on; nil: it is none.
func (c *cursor) whole(most int) *int {
	accepted := "a number from 0 to " + strconv.Itoa(most)
	s, ok := c.text(accepted)
	if !ok {
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || int(n) > most || len(s) > 1 && s[0] == '0' || c.n.Kind != yaml.ScalarNode {
		c.fail(quote(s)+" is not a number here", accepted, "")
		return nil
	}
	whole := int(n)
	return &whole
}
