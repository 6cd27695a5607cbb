package distribution

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// scraped replays a capture, which needs no privilege, and offers its metrics.
const scraped = `
receivers:
  ebpf_connection:
    capture_file: testdata/captures/sample.pcap
    collection_interval: 1s
    policy: connection_policy
extensions:
  connection_policy:
    keep_last_good: false
    policy: {mode: detect, rules: [{name: web, action: allow, layer4: {tcp: [80, 443]}}]}
exporters:
  prometheus:
    endpoint: ADDRESS
    resource_to_telemetry_conversion: {enabled: true}
service:
  extensions: [connection_policy]
  pipelines:
    metrics: {receivers: [ebpf_connection], exporters: [prometheus]}
  telemetry: {metrics: {level: none}}
`

// TestDashboard wants each metric that the dashboard asks for, and each label, to be
// one that Prometheus gets: of connections as the exporter names them, of Weir
// itself as documentation.md does.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "packaging", "grafana", "weir.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	known := scrape(t)
	documented(t, known)
	metrics := regexp.MustCompile(`\b(?:otelcol_)?weir_\w+`)
	labels := regexp.MustCompile(`\bby \(([^)]*)\)|[{,](\w+)=`)
	asked := 0
	for _, panel := range dashboard.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("%s: it asks for nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			var wanted []string
			for _, match := range labels.FindAllStringSubmatch(target.Expr, -1) {
				wanted = append(wanted, strings.FieldsFunc(match[1]+match[2], func(r rune) bool { return r == ',' || r == ' ' })...)
			}
			found := false
			for _, name := range metrics.FindAllString(labels.ReplaceAllString(target.Expr, ""), -1) {
				asked, found = asked+1, true
				of, ok := known[name]
				if !ok {
					t.Errorf("%s: there is no %s", panel.Title, name)
					continue
				}
				for _, label := range wanted {
					if label != "instance" && !of[label] { // Prometheus's own
						t.Errorf("%s: %s has no %s", panel.Title, name, label)
					}
				}
			}
			if !found {
				t.Errorf("%s: no metric in %s", panel.Title, target.Expr)
			}
		}
	}
	if asked < len(dashboard.Panels)/2 {
		t.Errorf("%d metrics in %d panels: the queries are not read as they should be", asked, len(dashboard.Panels))
	}
}

// scrape returns the labels of each metric of a replay.
func scrape(t *testing.T) map[string]map[string]bool {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(binary(t), "--config", "yaml:"+strings.ReplaceAll(scraped, "ADDRESS", address))
	cmd.Dir = root(t)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	sample := regexp.MustCompile(`(?m)^(\w+)\{(.*)\} `)
	label := regexp.MustCompile(`(\w+)="`)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		answer, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			continue
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			continue
		}
		known := map[string]map[string]bool{}
		for _, match := range sample.FindAllStringSubmatch(string(body), -1) {
			if known[match[1]] == nil {
				known[match[1]] = map[string]bool{}
			}
			for _, l := range label.FindAllStringSubmatch(match[2], -1) {
				known[match[1]][l[1]] = true
			}
		}
		// The last that comes: of a query that was answered.
		if known["weir_dns_duration_seconds_bucket"] != nil {
			return known
		}
	}
	t.Fatal("the replay's metrics did not come")
	return nil
}

// documented adds the metrics of Weir itself, with the attributes that
// documentation.md lists below each.
func documented(t *testing.T, known map[string]map[string]bool) {
	t.Helper()
	attribute := regexp.MustCompile(`^\| ([a-z_.]+) \|`)
	for _, folder := range []string{"receiver/ebpfconnectionreceiver", "extension/connectionpolicyextension"} {
		file, err := os.Open(filepath.Join(root(t), folder, "documentation.md"))
		if err != nil {
			t.Fatal(err)
		}
		name := ""
		for scanner := bufio.NewScanner(file); scanner.Scan(); {
			if heading, ok := strings.CutPrefix(scanner.Text(), "### "); ok {
				if name = heading; strings.HasPrefix(name, "otelcol_") {
					known[name] = map[string]bool{}
				}
			} else if match := attribute.FindStringSubmatch(scanner.Text()); match != nil && known[name] != nil {
				known[name][strings.ReplaceAll(match[1], ".", "_")] = true
			}
		}
		file.Close()
	}
}
