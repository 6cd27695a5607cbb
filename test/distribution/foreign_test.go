package distribution

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// foreignManifest is what somebody writes who takes Weir's components into a
// Collector of their own; only the replacement is the test's.
const foreignManifest = `
dist:
  name: mycollector
  module: example.com/mycollector
  output_path: ./out
receivers:
  - gomod: github.com/weirnet/weir v0.1.0
    import: github.com/weirnet/weir/receiver/ebpfconnectionreceiver
extensions:
  - gomod: github.com/weirnet/weir v0.1.0
    import: github.com/weirnet/weir/extension/connectionpolicyextension
  - gomod: github.com/weirnet/weir v0.1.0
    import: github.com/weirnet/weir/extension/connectiontextencodingextension
processors:
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/processor/attributesprocessor v0.158.0
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/debugexporter v0.158.0
providers:
  - gomod: github.com/weirnet/weir v0.1.0
    import: github.com/weirnet/weir/confmap/weirprovider
  - gomod: go.opentelemetry.io/collector/confmap/provider/envprovider v1.64.0
  - gomod: go.opentelemetry.io/collector/confmap/provider/fileprovider v1.64.0
replaces:
  - github.com/weirnet/weir => CHECKOUT
`

const foreignConfig = `
receivers:
  ebpf_connection:
    policy: connection_policy
extensions:
  connection_policy:
    keep_last_good: false
    policy: {mode: detect, rules: [{name: web, action: allow, layer4: {tcp: [80, 443]}}]}
  connection_text:
processors:
  attributes:
    actions: [{key: source.address, action: hash}]
exporters:
  debug:
service:
  extensions: [connection_policy, connection_text]
  pipelines:
    logs: {receivers: [ebpf_connection], processors: [attributes], exporters: [debug]}
    metrics: {receivers: [ebpf_connection], exporters: [debug]}
    traces: {receivers: [ebpf_connection], exporters: [debug]}
`

// TestForeignManifest builds a Collector from a manifest that is not ours, with
// ocb's check that no version is raised behind the manifest's back.
func TestForeignManifest(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a Collector")
	}
	folder := t.TempDir()
	manifest := strings.ReplaceAll(foreignManifest, "CHECKOUT", root(t))
	write(t, filepath.Join(folder, "manifest.yaml"), manifest)
	write(t, filepath.Join(folder, "config.yaml"), foreignConfig)

	// ocb resolves paths in its working directory, which is the user's.
	ocb := strings.TrimSpace(run(t, filepath.Join(root(t), "tools"), "go", "tool", "-n", "builder"))
	run(t, folder, ocb, "--config", "manifest.yaml", "--skip-strict-versioning=false")

	components := run(t, folder, "out/mycollector", "components")
	for _, name := range []string{"ebpf_connection", "connection_policy", "connection_text", "attributes", "debug"} {
		if !strings.Contains(components, "name: "+name+"\n") {
			t.Errorf("component %s is missing from:\n%s", name, components)
		}
	}
	run(t, folder, "out/mycollector", "validate", "--config", "config.yaml")
}

// run returns the standard output of a command that must succeed.
func run(t *testing.T, folder, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// root is the folder of the checkout.
func root(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
