package e2e

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repositories makes bare repositories of these names, with a commit of 3 MB, and gives
// their folder, git and the program that serves them.
func repositories(t *testing.T, names ...string) (dir, git string, handler *cgi.Handler) {
	t.Helper()
	git = tool(t, "git")
	path, err := exec.Command(git, "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := tool(t, filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"))
	dir = t.TempDir()
	for _, name := range names {
		bare := filepath.Join(dir, name)
		runGit(t, dir, "init", "-q", "--bare", "-b", "main", bare)
		runGit(t, bare, "config", "http.receivepack", "true")
		commit(t, dir, bare, 1)
	}
	return dir, git, &cgi.Handler{
		Path: backend, Dir: dir,
		Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"},
	}
}

// commit adds files of a seed to a repository, by a clone of it that is left.
func commit(t *testing.T, dir, from string, seed byte) (clone string) {
	t.Helper()
	clone, err := os.MkdirTemp(dir, "clone")
	if err != nil {
		t.Fatal(err)
	}
	runGit(t, dir, "clone", "-q", from, clone)
	if err := os.WriteFile(filepath.Join(clone, "large"), content(seed, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	runGit(t, clone, "add", ".")
	runGit(t, clone, "commit", "-q", "-m", "more")
	runGit(t, clone, "push", "-q", "origin", "HEAD:main")
	return clone
}

// gitEnvironment keeps the user's settings away.
func gitEnvironment(dir string) []string {
	return append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_PROTOCOL_FROM_USER=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"http_proxy=", "https_proxy=", "HTTPS_PROXY=", "all_proxy=")
}

func runGit(t *testing.T, dir string, arguments ...string) string {
	t.Helper()
	cmd := exec.Command("git", arguments...)
	cmd.Dir, cmd.Env = dir, gitEnvironment(dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", arguments, err, out)
	}
	return strings.TrimSpace(string(out))
}

// gitThere runs git on Weir's host.
func (p *programs) gitThere(t *testing.T, dir string, arguments ...string) (string, error) {
	t.Helper()
	cmd := p.a.command(t, tool(t, "git"), arguments...)
	cmd.Dir, cmd.Env = dir, gitEnvironment(dir)
	return p.a.outputOf(t, cmd)
}

// gitHTTP clones, fetches and pushes: one repository may be read, one written as well,
// one neither.
func gitHTTP(t *testing.T, p *programs) {
	dir, _, handler := repositories(t, "open.git", "team.git", "secret.git")
	at := p.at(8001)
	came := p.b.serve(t, at, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // chunked, which CGI does not know
		if err != nil {
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		handler.ServeHTTP(w, r)
	}))
	base, work := "http://"+at.String()+"/", t.TempDir()
	for _, name := range []string{"open", "team"} {
		if out, err := p.gitThere(t, work, "clone", "-q", base+name+".git", name); err != nil {
			t.Fatalf("git clone %s: %v\n%s", name, err, out)
		}
		isContent(t, filepath.Join(work, name, "large"), content(1, 3<<20))
		if err := os.WriteFile(filepath.Join(work, name, "large"), content(2, 3<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		runGit(t, filepath.Join(work, name), "commit", "-q", "-a", "-m", "mine")
	}
	before := runGit(t, filepath.Join(dir, "open.git"), "rev-parse", "main")
	if out, err := p.gitThere(t, filepath.Join(work, "team"), "push", "-q", "origin", "HEAD:main"); err != nil {
		t.Errorf("git push to what may be written: %v\n%s", err, out)
	}
	if got, want := runGit(t, filepath.Join(dir, "team.git"), "rev-parse", "main"), runGit(t, filepath.Join(work, "team"), "rev-parse", "HEAD"); got != want {
		t.Errorf("%s was pushed, and %s came", want, got)
	}
	runGit(t, filepath.Join(dir, "team.git"), "fsck", "--strict")
	if out, err := p.gitThere(t, filepath.Join(work, "open"), "push", "-q", "origin", "HEAD:main"); err == nil {
		t.Errorf("git push to what may only be read: %s", out)
	}
	if after := runGit(t, filepath.Join(dir, "open.git"), "rev-parse", "main"); after != before {
		t.Errorf("what may only be read was at %s, and is at %s", before, after)
	}
	if out, err := p.gitThere(t, work, "clone", "-q", base+"secret.git"); err == nil {
		t.Errorf("git clone of what may not be read: %s", out)
	}
	for _, path := range []string{"/open.git/git-receive-pack", "/secret.git/info/refs"} {
		if n := came.of(at.String() + path); n > 0 {
			t.Errorf("%d requests for %s came", n, path)
		}
	}
	p.tells(t, "weir.http.request", at.Port(), "url.path", "/team.git/git-receive-pack", "weir.verdict", "allowed", "security_rule.name", "git")
	p.tells(t, "weir.http.request", at.Port(), "url.path", "/open.git/git-receive-pack", "weir.verdict", "blocked", "security_rule.name", "no-push")
	p.tells(t, "weir.http.request", at.Port(), "url.path", "/secret.git/info/refs", "weir.verdict", "blocked", "weir.reason", "default")
}

// gitTLS clones from one server, of which the name decides.
func gitTLS(t *testing.T, p *programs) {
	_, _, handler := repositories(t, "open.git")
	at := p.at(8002)
	names := &visits{}
	certificates := &tls.Config{Certificates: []tls.Certificate{newCertificate(t, "git.example")}}
	certificates.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		names.add(hello.ServerName)
		return nil, nil
	}
	p.b.serve(t, at, certificates, handler)
	work := t.TempDir()
	clone := func(name string) (string, error) {
		resolve := name + ":8002:" + at.Addr().String()
		if at.Addr().Is6() {
			resolve = name + ":8002:[" + at.Addr().String() + "]"
		}
		return p.gitThere(t, work, "-c", "http.sslVerify=false", "-c", "http.curloptResolve="+resolve, "clone", "-q", "https://"+name+":8002/open.git", name)
	}
	if out, err := clone("git.example"); err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
	isContent(t, filepath.Join(work, "git.example", "large"), content(1, 3<<20))
	if out, err := clone("secret.example"); err == nil {
		t.Errorf("git clone by a name that is not allowed: %s", out)
	}
	if names.of("git.example") == 0 || names.of("secret.example") > 0 {
		t.Errorf("these names came: %v", names.all)
	}
	p.tells(t, "weir.tls.handshake", at.Port(), "weir.tls.server_name", "git.example", "weir.verdict", "allowed", "security_rule.name", "secure-git")
	p.tells(t, "weir.tls.handshake", at.Port(), "weir.tls.server_name", "secret.example", "weir.verdict", "blocked", "weir.reason", "default")
}
