package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// config is what a test sets of the Collector's configuration; the zero value
// watches the veth interface without a policy.
type config struct {
	policy     string // path of the policy file
	url        string // or where it is fetched from, as YAML in flow style
	extension  string // further settings of the extension, as YAML in flow style
	receiver   string // likewise of the receiver
	interfaces string // default: {include: [weir0]}
	timeouts   string // default: all short
	checked    bool   // owner and mode of policy files are checked
	extensions string // further extensions, by name
	exporter   string // one more, in all pipelines, as "name: {…}"
	telemetry  string
}

// Ends of UDP and ICMP are told after two seconds without packets.
const shortTimeouts = "{tcp: 60s, tcp_closing: 20s, udp: 2s, icmp: 2s}"

// yaml is the configuration that writes all signals into dir.
func (c *config) yaml(dir string) string {
	var b strings.Builder
	set := func(value, otherwise string) string {
		if value == "" {
			return otherwise
		}
		return value
	}
	active := []string{}
	fmt.Fprintf(&b, "receivers:\n  ebpf_connection:\n    interfaces: %s\n    collection_interval: 1s\n",
		set(c.interfaces, "{include: ["+nearName+"]}"))
	fmt.Fprintf(&b, "    flow_table: {max_entries: 65536, timeouts: %s}\n", set(c.timeouts, shortTimeouts))
	if !strings.Contains(c.receiver, "names:") {
		fmt.Fprintf(&b, "    names: {state_directory: %q}\n", filepath.Join(dir, "state"))
	}
	for _, line := range strings.Split(strings.TrimSpace(c.receiver), "\n") {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	if c.policy != "" || c.url != "" {
		from := "url: " + c.url
		if c.policy != "" {
			from = fmt.Sprintf("file: %q", c.policy)
		}
		fmt.Fprintf(&b, "    policy: connection_policy\nextensions:\n  connection_policy:\n    %s\n    allow_insecure_files: %t\n    state_directory: %q\n",
			from, !c.checked, filepath.Join(dir, "state"))
		if !strings.Contains(c.extension, "reload_interval") {
			fmt.Fprintf(&b, "    reload_interval: 100ms\n")
		}
		for _, line := range strings.Split(strings.TrimSpace(c.extension), "\n") {
			fmt.Fprintf(&b, "    %s\n", line)
		}
		active = append(active, "connection_policy")
	} else {
		b.WriteString("extensions:\n")
	}
	for _, line := range strings.Split(strings.TrimSpace(c.extensions), "\n") {
		fmt.Fprintf(&b, "  %s\n", line)
		if name, _, found := strings.Cut(line, ":"); found {
			active = append(active, name)
		}
	}
	b.WriteString("exporters:\n")
	for _, signal := range signals {
		fmt.Fprintf(&b, "  file/%s: {path: %q, append: true, flush_interval: 50ms}\n", signal, signalFile(dir, signal))
	}
	more := ""
	if c.exporter != "" {
		fmt.Fprintf(&b, "  %s\n", c.exporter)
		name, _, _ := strings.Cut(c.exporter, ":")
		more = ", " + name
	}
	fmt.Fprintf(&b, "service:\n  extensions: [%s]\n  pipelines:\n", strings.Join(active, ", "))
	for _, signal := range signals {
		fmt.Fprintf(&b, "    %s: {receivers: [ebpf_connection], exporters: [file/%s%s]}\n", signal, signal, more)
	}
	fmt.Fprintf(&b, "  telemetry: %s\n", set(c.telemetry, "{"+allLogs+", metrics: {level: none}}"))
	return b.String()
}

// allLogs keeps the Collector from leaving out log lines that repeat.
const allLogs = "logs: {sampling: {enabled: false}}"

var signals = []string{"logs", "metrics", "traces"}

func signalFile(dir, signal string) string { return filepath.Join(dir, signal+".json") }

// policyFile is a policy that a test changes as an editor does: a new file is
// renamed over the old one.
type policyFile string

func newPolicy(t *testing.T, text string) policyFile {
	t.Helper()
	p := policyFile(filepath.Join(t.TempDir(), "policy.yaml"))
	p.replace(t, text)
	return p
}

func (p policyFile) replace(t *testing.T, text string) {
	t.Helper()
	next := string(p) + ".new"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, string(p)); err != nil {
		t.Fatal(err)
	}
}
