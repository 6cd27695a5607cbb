package connectionpolicyextension

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A file of 100,000 rules: reading it anew, and finding out that nothing changed.
func BenchmarkReload100000Rules(b *testing.B) {
	var text strings.Builder
	text.WriteString("mode: detect\nrules:\n")
	for i := range 100_000 {
		fmt.Fprintf(&text, "- {name: rule-%d, action: allow, layer3: {source: 10.%d.%d.0/24}, layer4: {tcp: [%d, 8000-8100]}}\n", i, i/250%250, i%250, 1+i%60000)
	}
	file := filepath.Join(b.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	r, err := newReader(&Config{File: file, AllowInsecureFiles: true}, "connection_policy", time.Now)
	if err != nil {
		b.Fatal(err)
	}
	c := r.load()
	if c.err != nil || len(c.policy.Rules) != 100_000 {
		b.Fatal(c.err)
	}
	b.Run("changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if c := r.load(); c.err != nil {
				b.Fatal(c.err)
			}
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !r.unchanged(c.seen) {
				b.Fatal("a change that is none")
			}
		}
	})
}
