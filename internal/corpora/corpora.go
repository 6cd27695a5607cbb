// Package corpora finds recorded traffic that others publish, with what their tools
// say of it, for tests. It is no part of the project: tests that need it are skipped
// where it is missing.
package corpora

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Path is that of a file or folder; the test is skipped where it is missing.
func Path(t testing.TB, name ...string) string {
	t.Helper()
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		above := filepath.Dir(root)
		if above == root {
			t.Fatal("the test does not run within the module")
		}
		root = above
	}
	path := filepath.Join(append([]string{filepath.Dir(root), "shared", "corpora"}, name...)...)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Skipf("%s is missing: recorded traffic is not part of the project", path)
	}
	return path
}

// Expected are the lines of a folder's expected.jsonl.
func Expected[T any](t testing.TB, folder ...string) (lines []T) {
	t.Helper()
	return Lines[T](t, Path(t, append(folder, "expected.jsonl")...))
}

// Lines reads a file of one JSON value a line.
func Lines[T any](t testing.TB, path string) (lines []T) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var line T
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		lines = append(lines, line)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// Check is a line of Suricata's: exactly Count of its records match.
type Check struct {
	Pcap, Test string
	Count      int
	Match      map[string]any
}

// Text is the value of a key; "" where it is not said, or not text.
func (c *Check) Text(key string) string {
	s, _ := c.Match[key].(string)
	return s
}

// Number is the value of a key; 0 where it is not said, or no number.
func (c *Check) Number(key string) int {
	n, _ := c.Match[key].(float64)
	return int(n)
}
