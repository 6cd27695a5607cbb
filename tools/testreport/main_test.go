package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	tests := map[string]struct {
		events []string
		total  string
		shown  []string
		hidden []string
	}{
		"passed": {
			events: []string{
				`{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}`,
				`{"Action":"pass","Package":"p","Test":"TestA"}`,
				`{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}`,
				`{"Action":"pass","Package":"p"}`,
			},
			total:  "1 passed, 0 failed, 0 skipped\n",
			shown:  []string{"ok  \tp\t0.1s\n"},
			hidden: []string{"chatter"},
		},
		"skipped": {
			events: []string{
				`{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: needs root\n"}`,
				`{"Action":"skip","Package":"p","Test":"TestA"}`,
			},
			total: "0 passed, 0 failed, 1 skipped\n",
			shown: []string{"skipped: p TestA: a_test.go:1: needs root\n"},
		},
		"failed": {
			events: []string{
				`{"Action":"output","Package":"p","Test":"TestA","Output":"a_test.go:1: wrong\n"}`,
				`{"Action":"fail","Package":"p","Test":"TestA"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			total: "0 passed, 1 failed, 0 skipped\n",
			shown: []string{"a_test.go:1: wrong\n"},
		},
		"timeout: the test has no end of its own": {
			events: []string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"panic: test timed out\n"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			total: "0 passed, 1 failed, 0 skipped\n",
			shown: []string{"panic: test timed out\n"},
		},
		"does not build": {
			events: []string{
				`{"ImportPath":"p","Action":"build-output","Output":"x.go:1: undefined: y\n"}`,
				`{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			total: "0 passed, 1 failed, 0 skipped\n",
			shown: []string{"x.go:1: undefined: y\n", "FAIL\tp [build failed]\n"},
		},
		"plain text of the go command": {
			events: []string{"go: updates to go.mod needed"},
			total:  "0 passed, 0 failed, 0 skipped\n",
			shown:  []string{"go: updates to go.mod needed\n"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newReport()
			var out strings.Builder
			if err := r.read(strings.NewReader(strings.Join(test.events, "\n")), &out); err != nil {
				t.Fatal(err)
			}
			r.total(&out)
			if !strings.HasSuffix(out.String(), test.total) {
				t.Errorf("got %q, want %q at its end", out.String(), test.total)
			}
			for _, text := range test.shown {
				if !strings.Contains(out.String(), text) {
					t.Errorf("got %q, want %q in it", out.String(), text)
				}
			}
			for _, text := range test.hidden {
				if strings.Contains(out.String(), text) {
					t.Errorf("got %q, do not want %q in it", out.String(), text)
				}
			}
		})
	}
}
