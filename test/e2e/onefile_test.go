package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startOneFile runs the Collector with a file for the scheme weir:, and beside it
// what a test host needs.
func startOneFile(t *testing.T, h *host, text func(events string) string) (*weir, policyFile) {
	t.Helper()
	w := &weir{dir: t.TempDir(), host: h}
	w.logs.path = signalFile(w.dir, "logs")
	file := newPolicy(t, text(w.logs.path))
	overlay := fmt.Sprintf(`
receivers: {ebpf_connection: {interfaces: {include: [%s]}, flow_table: {max_entries: 65536, timeouts: %s}}}
extensions: {connection_policy: {state_directory: %q, reload_interval: 100ms}}
service: {telemetry: {%s, metrics: {level: none}}}
`, nearName, shortTimeouts, w.file("state"), allLogs)
	if err := os.WriteFile(w.file("overlay.yaml"), []byte(overlay), 0o600); err != nil {
		t.Fatal(err)
	}
	w.begin(t, weirBinary(t), "--config", "weir:"+string(file), "--config", w.file("overlay.yaml"))
	t.Cleanup(func() {
		w.stop(t)
		if t.Failed() {
			t.Logf("the Collector's log:\n%s", tail(w.log(), 60))
		}
	})
	w.awaitReady(t, 1)
	return w, file
}

// TestOneFile detects, prevents, and takes up another policy without a restart, and
// another destination with one; live connections go on through it.
func TestOneFile(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	events, audit, socket := "", "", ""
	with := func(policy, more string) string {
		return policy + "event_publisher: {api: {endpoint: " + socket + "}, file: {path: " + events + "}}\nlogging: {level: info, audit: {path: " + audit + "}}\n" + more
	}
	detect := strings.Replace(shut8080, "mode: prevent", "mode: detect", 1)
	w, file := startOneFile(t, l.a, func(path string) string {
		events, audit = path, filepath.Join(filepath.Dir(path), "audit", "audit.log")
		socket = filepath.Join(filepath.Dir(path), "run", "api.sock")
		return with(detect, "")
	})
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(l.address(l.b, ipv4, 0), port) }

	seen := l.connect(t, l.a, l.b, at(8080))
	s := w.awaitRecord(t, "the start", func(r record) bool { return r.event == "weir.connection.start" && seen.tuple.is(r) })
	if s.str("weir.verdict") != "detected" || s.str("weir.action") != "block" || s.str("security_rule.name") != "shut" {
		t.Errorf("in detect mode: %v", s.attributes)
	}
	live := l.connect(t, l.a, l.b, at(9090))
	live.chat(t)
	if p := callAPI(t, socket, "/v1/policy"); p["mode"] != "detect" || p["writable"] != false {
		t.Errorf("the API says of the policy %v", p)
	}

	file.replace(t, with(shut8080, ""))
	w.awaitChange(t, "loaded", 2)
	l.enforces(t, shut8080)
	live.chat(t)
	// The provider has looked meanwhile, twice.
	time.Sleep(5 * time.Second)
	if n := strings.Count(w.log(), readyLine); n != 1 {
		t.Errorf("the Collector started %d times; a change of rules needs no restart", n)
	}

	file.replace(t, with(shut8080, "otel: {endpoint: '127.0.0.1'}\n"))
	w.awaitLog(t, "The changed configuration is refused", "has no port")
	if n := strings.Count(w.log(), readyLine); n != 1 || w.hasExited() {
		t.Errorf("the Collector started %d times, ended: %t", n, w.hasExited())
	}
	live.chat(t)

	file.replace(t, with(shut8080, "otel: {endpoint: '127.0.0.1:9', tls: {insecure: true}, signals: metrics}\n"))
	w.awaitReady(t, 2)
	l.enforces(t, shut8080)
	live.chat(t)

	await(t, "the blocked connections in the audit log", func() bool {
		text, _ := os.ReadFile(audit) // not there at first
		return strings.Count(string(text), "rule=shut") >= 2
	})
}

// TestOneFileAtStart: what is wrong with its three keys keeps the Collector from
// starting, with the line and what is accepted.
func TestOneFileAtStart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := &weir{dir: t.TempDir(), host: l.a, mayFail: true}
	file := newPolicy(t, open8080+"logging: {level: loud}\n")
	w.begin(t, weirBinary(t), "--config", "weir:"+string(file))
	w.awaitExit(t)
	if want := `logging.level: "loud" is not known here; accepted: debug, info, warn, error`; !strings.Contains(w.log(), want) {
		t.Errorf("%q is missing from\n%s", want, w.log())
	}
}
