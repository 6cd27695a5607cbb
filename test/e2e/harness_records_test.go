package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
)

// record is a log record as the file exporter wrote it.
type record struct {
	event      string
	severity   string
	body       string
	time       time.Time
	observed   time.Time
	attributes map[string]any
}

func (r record) str(key string) string { s, _ := r.attributes[key].(string); return s }

func (r record) num(key string) int64 { n, _ := r.attributes[key].(int64); return n }

// logReader reads a file of OTLP JSON, a request per line, as it grows.
type logReader struct {
	path    string
	mu      sync.Mutex
	offset  int
	records []record
}

// read is all records so far.
func (l *logReader) read(t *testing.T) []record {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	content, err := os.ReadFile(l.path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for {
		line, _, complete := bytes.Cut(content[min(l.offset, len(content)):], []byte("\n"))
		if !complete {
			return slices.Clone(l.records)
		}
		l.offset += len(line) + 1
		for _, request := range requests(t, line) {
			l.add(t, request)
		}
	}
}

// add takes the records of a request.
func (l *logReader) add(t *testing.T, request []byte) {
	t.Helper()
	logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(request)
	if err != nil {
		t.Fatalf("the file exporter's output is not OTLP: %v\n%s", err, request)
	}
	for _, resource := range logs.ResourceLogs().All() {
		if _, ok := resource.Resource().Attributes().Get("host.name"); !ok {
			t.Errorf("a resource without host.name")
		}
		for _, scope := range resource.ScopeLogs().All() {
			for _, r := range scope.LogRecords().All() {
				l.records = append(l.records, record{
					event: r.EventName(), severity: r.SeverityText(), body: r.Body().AsString(),
					time: r.Timestamp().AsTime(), observed: r.ObservedTimestamp().AsTime(),
					attributes: r.Attributes().AsRaw(),
				})
			}
		}
	}
}

// beginsRequest finds where a request of OTLP JSON begins; no string has a quote in
// it that is not escaped.
var beginsRequest = regexp.MustCompile(`\{"resource(Logs|Metrics|Spans)":`)

// requests are those of a line of the file exporter's. It is one, but for what a
// Collector that was killed left before it: a part of a request, or a whole one whose
// line end was not written yet.
func requests(t *testing.T, line []byte) [][]byte {
	t.Helper()
	begins := beginsRequest.FindAllIndex(line, -1)
	if len(begins) == 0 {
		t.Fatalf("the file exporter's output is not OTLP JSON: %s", line)
	}
	var whole [][]byte
	for i, begin := range begins {
		end := len(line)
		if i+1 < len(begins) {
			end = begins[i+1][0]
		}
		if request := line[begin[0]:end]; i == len(begins)-1 || json.Valid(request) {
			whole = append(whole, request)
		}
	}
	return whole
}

// records are all log records so far.
func (w *weir) records(t *testing.T) []record {
	t.Helper()
	return w.logs.read(t)
}

// awaitRecord waits for a record and returns the first.
func (w *weir) awaitRecord(t *testing.T, what string, wanted func(record) bool) record {
	t.Helper()
	var found record
	await(t, "a record: "+what, func() bool {
		records := w.records(t)
		i := slices.IndexFunc(records, wanted)
		if i >= 0 {
			found = records[i]
		}
		return i >= 0
	})
	return found
}

// awaitChange waits for a weir.policy.change and returns it.
func (w *weir) awaitChange(t *testing.T, outcome string, generation int) record {
	t.Helper()
	return w.awaitRecord(t, fmt.Sprintf("policy %s, generation %d", outcome, generation), func(r record) bool {
		return r.event == "weir.policy.change" && r.str("weir.policy.outcome") == outcome &&
			(generation == 0 || r.str("security_rule.version") == fmt.Sprint(generation))
	})
}

// tuple names a connection as the peers know it; ICMP has no ports.
type tuple struct {
	transport           string
	source, destination netip.AddrPort
}

func (c tuple) String() string {
	return fmt.Sprintf("%s %v → %v", c.transport, c.source, c.destination)
}

func (c tuple) is(r record) bool {
	if r.str("network.transport") == "icmpv6" && r.num("weir.icmp.type") != 128 {
		return false // neighbor discovery, between the same addresses
	}
	return r.str("network.transport") == c.transport &&
		r.str("source.address") == c.source.Addr().String() && r.num("source.port") == int64(c.source.Port()) &&
		r.str("destination.address") == c.destination.Addr().String() && r.num("destination.port") == int64(c.destination.Port())
}

// story is what was told of one connection, in the order of the records.
type story []record

// story is what has been told of a connection so far. That it is one is checked:
// one id, one start.
func (w *weir) story(t *testing.T, c tuple) story {
	t.Helper()
	var s story
	ids := map[string]bool{}
	for _, r := range w.records(t) {
		if c.is(r) {
			s = append(s, r)
			ids[r.str("weir.connection.id")] = true
		}
	}
	if len(ids) > 1 {
		t.Fatalf("%v was told as %d connections:\n%v", c, len(ids), s)
	}
	return s
}

// ended waits for a connection's end and returns its story.
func (w *weir) ended(t *testing.T, c tuple) story {
	t.Helper()
	var s story
	awaitOr(t, func() bool {
		s = w.story(t, c)
		return len(s) > 0 && s[len(s)-1].event == "weir.connection.end"
	}, func() { t.Fatalf("waited %v in vain for the end of %v; it is told so far:\n%v", patience, c, s) })
	return s
}

func (s story) String() string {
	var b bytes.Buffer
	for _, r := range s {
		fmt.Fprintf(&b, "%s %s\n", r.event, r.body)
	}
	return b.String()
}

// of are the records of one event.
func (s story) of(event string) []record {
	var list []record
	for _, r := range s {
		if r.event == "weir.connection."+event {
			list = append(list, r)
		}
	}
	return list
}

// audit checks what holds of every connection whatever the test: one start
// before all else, at most one end after all else.
func (w *weir) audit(t *testing.T) {
	t.Helper()
	began, ended := map[string]bool{}, map[string]bool{}
	for _, r := range w.records(t) {
		id := r.str("weir.connection.id")
		if id == "" {
			continue
		}
		if w.config.policy == "" && w.config.url == "" {
			w.auditUnjudged(t, r)
		}
		if ended[id] {
			t.Errorf("told after the end: %s %s", r.event, r.body)
		}
		if (r.event == "weir.connection.start") == began[id] && !w.partial {
			t.Errorf("not one start, before all else: %s %s", r.event, r.body)
		}
		began[id] = true
		ended[id] = r.event == "weir.connection.end"
		if late := r.observed.Sub(r.time); late < 0 {
			t.Errorf("observed %v before it happened: %s", -late, r.body)
		}
	}
}

// auditUnjudged: without rules nothing is claimed.
func (w *weir) auditUnjudged(t *testing.T, r record) {
	t.Helper()
	for _, key := range []string{"weir.action", "weir.reason", "security_rule.name", "security_rule.version", "weir.shadow.action"} {
		if value, ok := r.attributes[key]; ok {
			t.Errorf("%s is %v, without any rules: %s", key, value, r.body)
		}
	}
	if r.severity != "INFO" || r.str("weir.verdict") != "detected" || r.str("weir.mode") != "detect" {
		t.Errorf("%s, %v: %s", r.severity, r.attributes, r.body)
	}
}
