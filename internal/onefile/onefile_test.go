package onefile

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/internal/policy"
)

var update = flag.Bool("update", false, "write the golden files")

// Each case has a file, and the configuration that it comes to.
func TestConfiguration(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/weir.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := policy.Load(policy.Document{Name: file, Content: content, Service: true}); err != nil {
				t.Fatal(err)
			}
			s, err := policy.LoadService(policy.Document{Name: file, Content: content})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			e := yaml.NewEncoder(&got)
			e.SetIndent(2)
			if err := e.Encode(Configuration(s, Options{File: "/etc/weir/weir.yaml"})); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join(filepath.Dir(file), "config.yaml")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got.String() != string(want) {
				t.Errorf("%v\ngot\n%s\nwant\n%s", err, got.String(), want)
			}
		})
	}
}

func TestAllowInsecureFiles(t *testing.T) {
	c := Configuration(&policy.Service{}, Options{File: "weir.yaml", AllowInsecureFiles: true})
	if e := c["extensions"].(map[string]any)["connection_policy"].(map[string]any); e["allow_insecure_files"] != true || e["file"] != "weir.yaml" {
		t.Errorf("%v", e)
	}
}
