package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the commands of the transcripts print")

// asWeirctl makes the test binary be weirctl, for shells that the tests start.
const asWeirctl = "WEIRCTL_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asWeirctl) != "" {
		main()
	}
	flag.Parse()
	os.Exit(m.Run())
}

// A transcript is a block of a page: commands after "$ ", as they are typed in the
// root of the checkout, each followed by what it prints.
var transcripts = regexp.MustCompile("(?s)\n```console\n(.*?)```")

// TestTranscripts runs the commands of testdata/ and of the documentation, and
// wants what stands there.
func TestTranscripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("testdata/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	folder := weirctlInPath(t)
	b := newBench(t)
	b.tells()
	t.Setenv(socketVariable, b.socket)
	blocks := 0
	for _, page := range append(pages, docs...) {
		if filepath.Base(page) == "walkthrough.md" {
			continue // its commands are of two hosts, and test/e2e runs them
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		written := transcripts.ReplaceAllStringFunc(string(text), func(block string) string {
			blocks++
			body := transcripts.FindStringSubmatch(block)[1]
			got := b.settled(replayTranscript(t, root, folder, body))
			if got != body && !*update {
				t.Errorf("%s:\n%s\nprints\n%s", page, body, got)
			}
			return "\n```console\n" + got + "```"
		})
		if *update && written != string(text) {
			if err := os.WriteFile(page, []byte(written), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if blocks == 0 {
		t.Error("there are no blocks: the pages are not read as they should be")
	}
}

// now is any time of these days, of which transcripts have the same one.
var (
	now = func() *regexp.Regexp {
		day := func(days int) string { return time.Now().UTC().AddDate(0, 0, days).Format(time.DateOnly) }
		return regexp.MustCompile("(" + day(-1) + "|" + day(0) + "|" + day(1) + `) \d\d:\d\d:\d\d`)
	}()
	process = regexp.MustCompile(`\(process \d+\)`)
)

// settled is what commands print with what is another each time replaced.
func (b *bench) settled(text string) string {
	text = now.ReplaceAllString(text, "2026-05-04 03:02:01")
	text = process.ReplaceAllString(text, "(process 4711)")
	return strings.ReplaceAll(text, b.dir, "/etc/weir")
}

// weirctlInPath makes a folder in which this test binary is weirctl.
func weirctlInPath(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Symlink(self, filepath.Join(folder, "weirctl")); err != nil {
		t.Fatal(err)
	}
	return folder
}

// replayTranscript is the transcript with what the commands print now. A command
// goes on over lines that begin with "> ".
func replayTranscript(t *testing.T, root, path, transcript string) string {
	t.Helper()
	var out strings.Builder
	lines := strings.Split(transcript, "\n")
	for i := 0; i < len(lines); i++ {
		command, is := strings.CutPrefix(lines[i], "$ ")
		if !is {
			continue // what was printed
		}
		out.WriteString(lines[i] + "\n")
		for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "> ") {
			i++
			command += "\n" + strings.TrimPrefix(lines[i], "> ")
			out.WriteString(lines[i] + "\n")
		}
		shell := exec.Command("bash", "-c", command)
		shell.Dir = root
		shell.Env = append(os.Environ(), asWeirctl+"=1", "PATH="+path+":"+os.Getenv("PATH"), "TZ=UTC")
		printed, _ := shell.CombinedOutput() // its exit code is shown by "echo $?" where it matters
		out.Write(printed)
		if len(printed) > 0 && printed[len(printed)-1] != '\n' {
			out.WriteString("\n")
		}
	}
	return out.String()
}
