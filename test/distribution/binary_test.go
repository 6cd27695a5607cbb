package distribution

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

// binary is the distribution that `make build` left, by its absolute path.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(root(t), "bin", "weir")
	if _, err := os.Stat(path); err != nil {
		t.Skip("bin/weir is missing: make build")
	}
	return path
}

// TestComponents holds the lean distribution to what the README says is in it.
func TestComponents(t *testing.T) {
	want := map[string]string{
		"receivers":  "ebpf_connection otlp",
		"extensions": "connection_policy connection_text file_storage health_check pprof zpages",
		"processors": "attributes batch filter memory_limiter resource transform",
		"exporters":  "debug file otlp_grpc otlp_http prometheus",
		"connectors": "count forward",
	}
	sections := regexp.MustCompile(`(?m)^(\w+):$`)
	out := run(t, root(t), binary(t), "components")
	at := sections.FindAllStringSubmatchIndex(out, -1)
	for i, match := range at {
		end := len(out)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		section, text := out[match[2]:match[3]], out[match[1]:end]
		for name := range strings.FieldsSeq(want[section]) {
			if !strings.Contains(text, "name: "+name+"\n") {
				t.Errorf("%s: %s is missing", section, name)
			}
		}
		delete(want, section)
	}
	for section := range want {
		t.Errorf("bin/weir has no %s", section)
	}
}

// TestExamples lets bin/weir check the examples that are Collector
// configurations, from the folder they are meant to be started in.
func TestExamples(t *testing.T) {
	for name, text := range examples(t) {
		if !isConfiguration(text) {
			continue
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			weir := binary(t)
			if strings.Contains(text, "\n  kafka:\n") {
				weir = filepath.Join(root(t), "bin", "weir-wide")
				if _, err := os.Stat(weir); err != nil {
					t.Skip("bin/weir-wide is missing: make build-wide")
				}
			}
			run(t, root(t), weir, "validate", "--config", name)
		})
	}
}

// TestExamplePolicies loads the examples that are policies, and wants no
// warning of them.
func TestExamplePolicies(t *testing.T) {
	found := false
	for name, text := range examples(t) {
		if isConfiguration(text) {
			continue
		}
		found = true
		if isOneFile(text) {
			t.Run(filepath.Base(name), func(t *testing.T) {
				loadsOneFile(t, text)
				run(t, root(t), binary(t), "validate", "--config", "weir:"+name+"?allow_insecure_files")
			})
			continue
		}
		loads(t, text)
	}
	if !found {
		t.Error("there is no policy among the examples")
	}
}

// examples returns the example files by path.
func examples(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root(t), "examples", "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	files := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = string(text)
	}
	return files
}

// isOneFile tells a file for the scheme weir: from a policy.
func isOneFile(text string) bool {
	return len(policy.ServiceKeysOf(policy.Document{Content: []byte(text)})) > 0
}

// isConfiguration tells a Collector's configuration from a policy.
func isConfiguration(text string) bool { return strings.Contains(text, "\nservice:\n") }
