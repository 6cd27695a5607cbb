package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// corpora are captures of others, which are not part of Weir.
const corpora = "../../../shared/corpora"

// TestSuggestKeepsCaptures: what a capture holds is allowed by the policy that is
// suggested for it, down to each request, as a replay of it tells.
func TestSuggestKeepsCaptures(t *testing.T) {
	var captures []string
	filepath.WalkDir(corpora, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.Contains(entry.Name(), ".pcap") {
			if info, err := entry.Info(); err == nil && info.Size() < 1<<20 {
				captures = append(captures, path)
			}
		}
		return nil // what is not there is skipped
	})
	if len(captures) == 0 {
		t.Skipf("no captures below %s", corpora)
	}
	suggested := filepath.Join(t.TempDir(), "policy.yaml")
	for i, capture := range captures {
		if i%4 != 0 && !strings.Contains(capture, "http") || strings.Contains(capture, "socks") {
			// What is spoken with a SOCKS proxy, before what has a name, is in no record.
			continue
		}
		var out, complaints bytes.Buffer
		if code := run([]string{"suggest", "--refused", capture}, nil, &out, &complaints, nil); code != 0 {
			t.Errorf("%s: %s", capture, complaints.String())
			continue
		}
		if err := os.WriteFile(suggested, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		var report bytes.Buffer
		if code := run([]string{"replay", capture, "--policy", suggested, "--show", "blocked", "--exit-code"}, nil, &report, &complaints, nil); code != 0 {
			t.Errorf("%s: exit code %d\n%s%s%s", capture, code, complaints.String(), report.String(), out.String())
		}
	}
}
