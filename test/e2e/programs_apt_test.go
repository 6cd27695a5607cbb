package e2e

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// aptProxy updates, and downloads a package, through a proxy that knows more than the
// policy allows.
func aptProxy(t *testing.T, p *programs) {
	apt, repository := tool(t, "apt-get"), debianRepository(t)
	at := p.at(3142)
	files := http.FileServer(http.Dir(repository))
	came := p.b.serve(t, at, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Host == "" { // whoever asks a proxy names the host
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, r.URL.Path, _ = strings.Cut(r.URL.Path[1:], "/") // every folder is the same
		r.URL.Path = "/" + r.URL.Path
		files.ServeHTTP(w, r)
	}))
	// get downloads a package from a source, in folders of its own.
	get := func(source string) (dir, out string, err error) {
		dir = t.TempDir()
		for _, folder := range []string{"etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/trusted.gpg.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg", "var/log/apt", "got"} {
			if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for name, text := range map[string]string{
			"apt.conf": fmt.Sprintf("Dir %q;\nDir::State::status %q;\nAPT::Sandbox::User \"root\";\nAcquire::http::Proxy \"http://%v\";\nAcquire::Languages \"none\";\nAcquire::Retries \"0\";\nAcquire::http::Timeout \"10\";\nDir::Log::Terminal \"\";\n",
				dir, filepath.Join(dir, "var/lib/dpkg/status"), at),
			"etc/apt/sources.list": "deb [trusted=yes] " + source + " ./\n",
			"var/lib/dpkg/status":  "",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, command := range [][]string{{"update"}, {"download", "weir-hello"}} {
			cmd := p.a.command(t, apt, command...)
			cmd.Dir = filepath.Join(dir, "got")
			cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(dir, "apt.conf"), "LC_ALL=C", "http_proxy=http://"+at.String())
			out, err = p.a.outputOf(t, cmd)
			if err == nil && strings.Contains(out, "Failed to fetch") {
				err = fmt.Errorf("apt-get %s ends as if it had not failed", command[0])
			}
			if err != nil {
				break
			}
		}
		return dir, out, err
	}
	dir, out, err := get("http://packages.example/debian")
	if err != nil {
		t.Fatalf("apt-get from what is allowed: %v\n%s", err, out)
	}
	want, err := os.ReadFile(filepath.Join(repository, "weir-hello.deb"))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := filepath.Glob(filepath.Join(dir, "got", "*.deb"))
	if len(got) != 1 {
		t.Fatalf("apt-get downloaded %q:\n%s", got, out)
	}
	isContent(t, got[0], want)
	for _, source := range []string{"packages.example/secret", "other.example/debian"} {
		if _, out, err := get("http://" + source); err == nil {
			t.Errorf("apt-get from %s:\n%s", source, out)
		}
		if n := came.beginning(source); n > 0 {
			t.Errorf("%d requests to %s came", n, source)
		}
	}
	p.tells(t, "weir.http.request", at.Port(), "url.path", "/debian/./weir-hello.deb", "weir.verdict", "allowed", "security_rule.name", "packages")
	p.tells(t, "weir.http.request", at.Port(), "url.path", "/secret/./InRelease", "weir.verdict", "blocked", "weir.reason", "default")
	p.tells(t, "weir.http.request", at.Port(), "server.address", "other.example", "weir.verdict", "blocked", "weir.reason", "default")
}

// debianRepository makes a repository of one package of 2 MB.
func debianRepository(t *testing.T) string {
	t.Helper()
	build := tool(t, "dpkg-deb")
	tree, dir := t.TempDir(), t.TempDir()
	control := "Package: weir-hello\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.com>\nDescription: for a test\n"
	if err := os.Mkdir(filepath.Join(tree, "DEBIAN"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"DEBIAN/control": []byte(control), "large": content(3, 2<<20)} {
		if err := os.WriteFile(filepath.Join(tree, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	deb := filepath.Join(dir, "weir-hello.deb")
	if out, err := exec.Command(build, "-Znone", "--root-owner-group", "--build", tree, deb).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, out)
	}
	b, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	packages := fmt.Sprintf("%sFilename: ./weir-hello.deb\nSize: %d\nSHA256: %x\n\n", control, len(b), sha256.Sum256(b))
	release := fmt.Sprintf("Date: Sun, 01 Nov 2026 00:00:00 UTC\nSHA256:\n %x %d Packages\n", sha256.Sum256([]byte(packages)), len(packages))
	for name, text := range map[string]string{"Packages": packages, "Release": release} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
