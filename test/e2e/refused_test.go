package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// refusals are files that are no policy, and what the answer has to name.
var refusals = []struct {
	name    string
	content string
	names   []string
}{
	{"empty", "", []string{"empty"}},
	{"100 MB", strings.Repeat("# a line of a comment that goes on for a hundred bytes, so that a million of them are 100 MB........\n", 1e6), []string{"larger than 64 MiB"}},
	{"alias bomb", aliasBomb(), []string{":3:", "groups.addresses.a1"}},
	{"binary", string(bytes.Repeat([]byte{0x7f, 'E', 'L', 'F', 0, 0xff, 0x80, 1}, 1000)), []string{}},
	{"two rules of one name", rule("- {name: a, action: allow}\n- {name: a, action: block}"), []string{":4:", "rules[1].name"}},
	{"port 65536", rule("- {name: a, action: allow, layer4: {tcp: 65536}}"), []string{":3:", "tcp", "65536", "65535"}},
	{"prefix of 33 bits", rule("- {name: a, action: allow, layer3: {source: 192.0.2.0/33}}"), []string{":3:", "source", "192.0.2.0/33"}},
	{"a tag that was to be an exception", rule("- name: a\n  action: allow\n  layer3:\n    source: [!10.0.0.0/8]"), []string{":6:", "rules[0].layer3.source", "!10.0.0.0/8", "quote"}},
	{"an alias that was to be a pattern", rule("- name: a\n  action: allow\n  layer7:\n    tls: [*.example.com]"), []string{":6:", "*.example.com", "quote"}},
	{"an unknown key", rule("- {name: a, action: allow, layer4: {tpc: 80}}"), []string{":3:", "tpc", "tcp"}},
	{"a rule without action", rule("- {name: a}"), []string{":3:", "action"}},
	{"not YAML", "rules: [", []string{":1:"}},
	{"an SSH key by MD5", rule("- {name: a, action: allow, layer7: {ssh: {public_keys: 'MD5:d4:1d:8c:d9:8f:00:b2:04:e9:80:09:98:ec:f8:42:7e'}}}"), []string{":3:", "public_keys", "SHA256:"}},
	{"nothing allowed", rule("- {name: a, action: block}"), []string{"lock everybody out"}},
}

func rule(text string) string { return "mode: prevent\nrules:\n" + text + "\n" }

// aliasBomb is a list whose expansion has 10^9 elements.
func aliasBomb() string {
	var b strings.Builder
	b.WriteString("groups: {addresses: {\n  a0: &a0 [192.0.2.1]")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, ",\n  a%d: &a%d [%s]", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	b.WriteString("}}\nrules: [{name: a, action: allow, layer3: {source: group:a9}}]\n")
	return b.String()
}

// TestRefusedPolicies puts one bad file after the other in place of a policy in
// force, which stays.
func TestRefusedPolicies(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := newPolicy(t, shut8080)
	w := start(t, l.a, config{policy: string(p)})
	for i, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			p.replace(t, c.content)
			var change record
			await(t, "the refusal", func() bool {
				var changes []record
				for _, r := range w.records(t) {
					if r.event == "weir.policy.change" && r.str("weir.policy.outcome") == "refused" {
						changes = append(changes, r)
					}
				}
				if len(changes) > i+1 {
					t.Fatalf("%d refusals of %d policies", len(changes), i+1)
				}
				if len(changes) == i+1 {
					change = changes[i]
				}
				return len(changes) == i+1
			})
			if change.severity != "WARN" || change.str("weir.policy.source") != string(p) {
				t.Errorf("%s, source %q", change.severity, change.str("weir.policy.source"))
			}
			detail := change.str("weir.policy.detail")
			if !strings.HasSuffix(detail, "; generation 1 stays in force") || !containsAll(detail, c.names) {
				t.Fatalf("want %q and that generation 1 stays in force; got %s", c.names, detail)
			}
			w.awaitLog(t, append(c.names[:len(c.names):len(c.names)], "Policy refused")...)
			l.enforces(t, shut8080)
		})
	}
	t.Run("the same policy again", func(t *testing.T) {
		p.replace(t, shut8080)
		w.awaitLog(t, "The policy file is again the policy in force")
	})
	t.Run("another policy", func(t *testing.T) {
		p.replace(t, open8080)
		await(t, "a policy of a higher generation", func() bool {
			for _, r := range w.records(t) {
				if r.event == "weir.policy.change" && r.str("weir.policy.outcome") == "loaded" && r.str("security_rule.version") > "1" {
					return true
				}
			}
			return false
		})
		l.enforces(t, open8080)
	})
}

// enforces checks that one of the two policies of these tests is in force.
func (l *lab) enforces(t *testing.T, policy string) {
	t.Helper()
	at := netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080)
	switch policy {
	case open8080:
		l.connect(t, l.a, l.b, at)
	case shut8080:
		if d := l.a.dialTCP(at, patience); !errors.Is(d.err, unix.ECONNREFUSED) {
			t.Errorf("connect: %v, want it refused", d.err)
		}
		l.connect(t, l.a, l.b, netip.AddrPortFrom(at.Addr(), 9090))
	}
}

// TestRefusedFiles: a policy that others may read or write, or whose folder they
// may write, is not read, neither at the start nor when it becomes so.
func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	const nobody = 65534
	spoilers := []struct {
		name    string
		spoil   func(path string) error
		restore func(path string) error
		names   []string
	}{
		{"readable by others", func(p string) error { return os.Chmod(p, 0o644) }, func(p string) error { return os.Chmod(p, 0o600) }, []string{"chmod"}},
		{"of another owner", func(p string) error { return os.Chown(p, nobody, -1) }, func(p string) error { return os.Chown(p, 0, -1) }, []string{"chown"}},
		{
			"in a folder that others may write", func(p string) error { return os.Chmod(filepath.Dir(p), 0o777) },
			func(p string) error { return os.Chmod(filepath.Dir(p), 0o700) },
			[]string{"chmod"},
		},
		{
			"gone", func(p string) error { return os.Rename(p, p+".gone") },
			func(p string) error { return os.Rename(p+".gone", p) },
			[]string{"no such file"},
		},
		{
			"a folder", func(p string) error { return errors.Join(os.Rename(p, p+".gone"), os.Mkdir(p, 0o700)) },
			func(p string) error { return errors.Join(os.Remove(p), os.Rename(p+".gone", p)) },
			[]string{"not a file"},
		},
		{
			"a FIFO", func(p string) error { return errors.Join(os.Rename(p, p+".gone"), unix.Mkfifo(p, 0o600)) },
			func(p string) error { return errors.Join(os.Remove(p), os.Rename(p+".gone", p)) },
			[]string{"not a regular file"},
		},
	}
	l := newLab(t)
	p := newPolicy(t, shut8080)
	if err := os.Chmod(filepath.Dir(string(p)), 0o700); err != nil {
		t.Fatal(err)
	}
	w := start(t, l.a, config{policy: string(p), checked: true})
	other := newLab(t)
	for _, s := range spoilers {
		t.Run(s.name, func(t *testing.T) {
			defer func() {
				if t.Failed() { // for those that follow
					s.restore(string(p))
				}
			}()
			refused := strings.Count(w.log(), "Policy refused")
			if err := s.spoil(string(p)); err != nil {
				t.Fatal(err)
			}
			await(t, "the refusal", func() bool { return strings.Count(w.log(), "Policy refused") == refused+1 })
			w.awaitLog(t, append(s.names, "Policy refused", string(p))...)
			l.enforces(t, shut8080)

			late := launch(t, other.a, config{policy: string(p), checked: true})
			late.mayFail = true
			late.awaitExit(t)
			if late.err == nil {
				t.Error("the Collector started with it")
			}
			if !containsAll(late.log(), append(s.names, string(p))) {
				t.Errorf("want %q in\n%s", s.names, tail(late.log(), 5))
			}

			back := strings.Count(w.log(), "is again the policy in force")
			if err := s.restore(string(p)); err != nil {
				t.Fatal(err)
			}
			await(t, "the policy's return", func() bool {
				return strings.Count(w.log(), "is again the policy in force") == back+1
			})
		})
	}
}
