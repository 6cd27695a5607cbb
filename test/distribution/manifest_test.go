package distribution

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// manifest is the part of an ocb manifest that the tests compare.
type manifest map[string][]struct {
	GoMod  string `yaml:"gomod"`
	Import string `yaml:"import"`
}

func readManifest(t *testing.T, name string) manifest {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]yaml.Node
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	delete(file, "dist")
	m := manifest{}
	for section, node := range file {
		entries := m[section]
		if err := node.Decode(&entries); err != nil {
			t.Fatalf("%s of %s: %v", section, name, err)
		}
		m[section] = entries
	}
	return m
}

// The wide distribution has all that the lean one has, in the same versions.
func TestWideHoldsLean(t *testing.T) {
	lean, wide := readManifest(t, "builder-config.yaml"), readManifest(t, "builder-config.wide.yaml")
	for section, entries := range lean {
		for _, entry := range entries {
			if !slices.Contains(wide[section], entry) {
				t.Errorf("%s: %s %s is not in builder-config.wide.yaml", section, entry.GoMod, entry.Import)
			}
		}
	}
}

// ocb writes code for the core version that is its own.
func TestBuilderVersion(t *testing.T) {
	tools, err := os.ReadFile(filepath.Join(root(t), "tools", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	const batch = "go.opentelemetry.io/collector/processor/batchprocessor "
	for _, entry := range readManifest(t, "builder-config.yaml")["processors"] {
		if version, ok := strings.CutPrefix(entry.GoMod, batch); ok {
			if !strings.Contains(string(tools), "go.opentelemetry.io/collector/cmd/builder "+version+" ") {
				t.Errorf("tools/go.mod has another version of ocb than %s", version)
			}
			return
		}
	}
	t.Error("no batch processor in builder-config.yaml to compare with")
}
