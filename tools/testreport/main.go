// Command testreport reads the output of `go test -json` and prints what a
// person wants to know of it: one line per package, everything a failed test
// printed, why tests were skipped, and the totals as the last line. It exits
// with status 1 when something failed, or when there was nothing to read.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is a line of `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// report counts tests and subtests alike. output holds what each test printed
// that has not passed yet.
type report struct {
	passed, failed, skipped int
	output                  map[test]*strings.Builder
	failedTests             map[string]int
	skips                   []string
}

type test struct{ pkg, name string }

func newReport() *report {
	return &report{output: map[test]*strings.Builder{}, failedTests: map[string]int{}}
}

func main() {
	r := newReport()
	if err := r.read(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testreport: read test output:", err)
		os.Exit(1)
	}
	r.total(os.Stdout)
	if r.failed > 0 || r.passed == 0 {
		os.Exit(1)
	}
}

func (r *report) read(in io.Reader, out io.Writer) error {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		var e event
		if err := json.Unmarshal(scanner.Bytes(), &e); err != nil {
			// The go command itself complains in plain text.
			fmt.Fprintln(out, scanner.Text())
			continue
		}
		r.take(e, out)
	}
	return scanner.Err()
}

func (r *report) take(e event, out io.Writer) {
	id := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(out, e.Output)
	case "output":
		if e.Test == "" && isPackageLine(e.Output) {
			fmt.Fprint(out, e.Output)
			return
		}
		if r.output[id] == nil {
			r.output[id] = &strings.Builder{}
		}
		r.output[id].WriteString(e.Output)
	case "pass":
		if e.Test != "" {
			r.passed++
		}
		delete(r.output, id)
	case "skip":
		if e.Test != "" {
			r.skipped++
			r.skips = append(r.skips, e.Package+" "+e.Test+": "+reason(r.output[id]))
		}
		delete(r.output, id)
	case "fail":
		if e.Test != "" {
			r.failed++
			r.failedTests[e.Package]++
			r.show(id, out)
			return
		}
		r.failPackage(e.Package, out)
	}
}

// failPackage shows what the tests printed that never came to an end (panic,
// timeout); a package that failed without a failed test (it does not build,
// TestMain failed) counts as one.
func (r *report) failPackage(pkg string, out io.Writer) {
	var left []test
	for id := range r.output {
		if id.pkg == pkg {
			left = append(left, id)
		}
	}
	slices.SortFunc(left, func(a, b test) int { return strings.Compare(a.name, b.name) })
	for _, id := range left {
		r.show(id, out)
	}
	if r.failedTests[pkg] == 0 {
		r.failed++
	}
}

func (r *report) show(id test, out io.Writer) {
	if text := r.output[id]; text != nil {
		fmt.Fprint(out, text.String())
		delete(r.output, id)
	}
}

func (r *report) total(out io.Writer) {
	for _, skip := range r.skips {
		fmt.Fprintln(out, "skipped:", skip)
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
}

// isPackageLine recognises the result line of a package that has tests.
func isPackageLine(line string) bool {
	return strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "FAIL\t")
}

// reason is the text a skipped test gave; the lines around it are the runner's.
func reason(output *strings.Builder) string {
	if output == nil {
		return "no reason given"
	}
	for line := range strings.Lines(output.String()) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			return line
		}
	}
	return "no reason given"
}
