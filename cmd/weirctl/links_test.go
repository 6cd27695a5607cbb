package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestLinksNoCollector: of the Collector's modules, weirctl has the data that
// records are made of, and the flags these ask for.
func TestLinksNoCollector(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for name := range strings.FieldsSeq(string(out)) {
		rest, is := strings.CutPrefix(name, "go.opentelemetry.io/collector/")
		if !is {
			continue
		}
		found = true
		if module, _, _ := strings.Cut(rest, "/"); module != "pdata" && module != "featuregate" {
			t.Errorf("weirctl links %s", name)
		}
	}
	if !found {
		t.Error("no module of the Collector at all: the list is not read as it should be")
	}
}
