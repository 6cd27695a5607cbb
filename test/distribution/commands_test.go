package distribution

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	shellBlocks = regexp.MustCompile("(?s)\n```sh(?:ell)?\n(.*?)\n```")
	makeTargets = regexp.MustCompile(`\bmake ((?:[a-z-]+ ?)+)`)
	ownPaths    = regexp.MustCompile(`\b(?:examples|packaging|testdata|scripts)/[\w./-]+`)
	subcommands = regexp.MustCompile(`\bweirctl ([a-z-]+)`)
)

// shellOf are the shell blocks of a page.
func shellOf(t *testing.T, page string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range shellBlocks.FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestDocumentedCommands: what the pages say to type is shell, and names tasks, files
// and commands that there are. Those that can be run in a test are run by others: of
// docs/api.md, docs/events.md, docs/one-file.md, docs/replay.md, docs/weirctl.md,
// docs/walkthrough.md, and what docs/operations.md and docs/install.md have for a host
// with systemd.
func TestDocumentedCommands(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root(t), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	help := run(t, root(t), "go", "run", "./cmd/weirctl", "--help")
	pages, err := filepath.Glob(filepath.Join(root(t), "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, page := range append(pages, filepath.Join(root(t), "README.md"), filepath.Join(root(t), "extension", "connectionpolicyextension", "README.md")) {
		name, err := filepath.Rel(root(t), page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range shellOf(t, name) {
			commands++
			if out, err := exec.Command("bash", "-n", "-c", block).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s\n%s", name, err, out, block)
			}
			for _, m := range makeTargets.FindAllStringSubmatch(block, -1) {
				for target := range strings.FieldsSeq(m[1]) {
					if !strings.Contains(string(makefile), "\n"+target+":") {
						t.Errorf("%s: there is no task %s", name, target)
					}
				}
			}
			for _, path := range ownPaths.FindAllString(block, -1) {
				if _, err := os.Stat(filepath.Join(root(t), path)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			for _, m := range subcommands.FindAllStringSubmatch(block, -1) {
				if !strings.Contains(help, "\n  "+m[1]+" ") {
					t.Errorf("%s: weirctl has no command %s", name, m[1])
				}
			}
		}
	}
	if commands < 20 {
		t.Errorf("%d blocks of commands: the pages are not read as they should be", commands)
	}
}

// TestInstallByHand installs as docs/operations.md does, into a folder of its own:
// what is there then is complete, and closed to others.
func TestInstallByHand(t *testing.T) {
	binary(t)
	folder := t.TempDir()
	var script strings.Builder
	script.WriteString("set -eu\nmkdir -p usr/bin etc/systemd/system\n")
	for line := range strings.SplitSeq(shellOf(t, "docs/operations.md")[0], "\n") {
		if line, _, _ := strings.Cut(line, "#"); strings.HasPrefix(line, "install ") {
			for _, at := range []string{"/usr/bin", "/etc/"} {
				line = strings.ReplaceAll(line, " "+at, " "+folder+at)
			}
			script.WriteString("(cd '" + root(t) + "' && " + line + ")\n")
		}
	}
	if _, err := os.Stat(filepath.Join(root(t), "bin", "weirctl")); err != nil {
		run(t, root(t), "go", "build", "-o", "bin/weirctl", "./cmd/weirctl")
	}
	run(t, folder, "bash", "-c", script.String())
	for name, mode := range map[string]os.FileMode{
		"usr/bin/weir": 0o755, "usr/bin/weirctl": 0o755, "etc/weir": os.ModeDir | 0o700,
		"etc/weir/config.yaml": 0o600, "etc/weir/policy.yaml": 0o600, "etc/systemd/system/weir.service": 0o644,
	} {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	run(t, folder, "usr/bin/weirctl", "policy", "check", "etc/weir/policy.yaml")
	run(t, folder, "usr/bin/weir", "validate", "--config", "etc/weir/config.yaml")
}

// TestDocumentedStarts starts Weir with the very commands of pages: replays, to their
// end; and what would watch this host as far as `validate` goes, as which test/e2e runs
// the rest.
func TestDocumentedStarts(t *testing.T) {
	binary(t)
	folder := t.TempDir()
	capture := filepath.Join(root(t), "testdata", "captures", "sample.pcap")
	oneFile := filepath.Join(folder, "weir.yaml")
	text, err := os.ReadFile(filepath.Join(root(t), "examples", "one-file.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, oneFile, string(text))
	for page, n := range map[string]int{"docs/replay.md": 1, "docs/one-file.md": 2} {
		found := 0
		for _, block := range shellOf(t, page) {
			if !strings.Contains(block, "bin/weir ") {
				continue
			}
			found++
			typed := strings.NewReplacer("traffic.pcapng", capture, "bin/weir --config weir:/etc/weir/weir.yaml", "bin/weir validate --config weir:"+oneFile).Replace(block)
			out := run(t, root(t), "bash", "-euc", typed)
			if page == "docs/replay.md" && strings.Count(out, "detected  forwarded udp 192.0.2.20:53211") != 2 {
				t.Errorf("%s\nprints\n%s", block, out)
			}
		}
		if found != n {
			t.Errorf("%s starts Weir in %d blocks, want %d", page, found, n)
		}
	}
}
