package distribution

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/internal/policy"
)

// TestDocumentedExamples tries every YAML block of the README and of docs/: what
// has keys of a file for weir: must be one, what has rules or a mode a policy that
// loads, what has a service section a
// configuration that bin/weir accepts, and the rest at least YAML.
func TestDocumentedExamples(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root(t), "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)\n```yaml\n(.*?)```")
	policies, configurations, oneFiles := 0, 0, 0
	for _, page := range append(pages, filepath.Join(root(t), "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, match := range blocks.FindAllStringSubmatch(string(text), -1) {
			t.Run(fmt.Sprintf("%s %d", filepath.Base(page), i+1), func(t *testing.T) {
				var keys map[string]any
				if err := yaml.Unmarshal([]byte(match[1]), &keys); err != nil {
					t.Fatalf("%v\n%s", err, match[1])
				}
				switch {
				case isOneFile(match[1]):
					oneFiles++
					loadsOneFile(t, match[1])
					validatesOneFile(t, match[1])
				case keys["rules"] != nil || keys["mode"] != nil:
					policies++
					loads(t, match[1])
				case keys["service"] != nil:
					configurations++
					validates(t, match[1])
				}
			})
		}
	}
	if policies == 0 || configurations == 0 || oneFiles == 0 {
		t.Errorf("%d policies, %d configurations, %d files for weir: the documents are not read as they should be", policies, configurations, oneFiles)
	}
}

func loads(t *testing.T, text string) {
	t.Helper()
	if _, warnings, err := policy.Load(policy.Document{Name: "example", Content: []byte(text)}); err != nil || len(warnings) > 0 {
		t.Errorf("%v %v\n%s", err, warnings, text)
	}
}

func loadsOneFile(t *testing.T, text string) {
	t.Helper()
	doc := policy.Document{Name: "example", Content: []byte(text), Service: true}
	if _, warnings, err := policy.Load(doc); err != nil || len(warnings) > 0 {
		t.Errorf("%v %v\n%s", err, warnings, text)
	}
	if _, err := policy.LoadService(doc); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

// validatesOneFile asks bin/weir, which has no exporter for Kafka.
func validatesOneFile(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "kafka:") {
		return
	}
	config := filepath.Join(t.TempDir(), "weir.yaml")
	write(t, config, text)
	run(t, filepath.Dir(config), binary(t), "validate", "--config", "weir:"+config)
}

// validates asks bin/weir. A configuration names files of a real host; those of
// the policy stand for a policy that is there.
func validates(t *testing.T, text string) {
	t.Helper()
	folder := t.TempDir()
	path := filepath.Join(folder, "policy.yaml")
	write(t, path, "mode: detect\n")
	text = strings.ReplaceAll(text, "/etc/weir/policy.yaml", path)
	config := filepath.Join(folder, "config.yaml")
	write(t, config, text)
	run(t, folder, binary(t), "validate", "--config", config)
}
