package e2e

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// settings are those of the URL, as YAML.
func (s *policyServer) settings(more ...string) string {
	all := append([]string{fmt.Sprintf("endpoint: %q, poll_interval: 1s", s.url)}, more...)
	if s.ca != "" {
		all = append(all, fmt.Sprintf("ca_file: %q", s.ca))
	}
	return "{" + strings.Join(all, ", ") + "}"
}

// TestPolicyFromURL has the policy change at its server, become none, and the server
// go away and come back. The way there is through the interface that is watched, and
// no rule allows it.
func TestPolicyFromURL(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.servePolicy(t, true, open8080)
	s.token = "a secret"
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(s.token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	setting, socket := apiOf(t)
	w := start(t, l.a, config{
		url: s.settings(fmt.Sprintf("token_file: %q", token)), checked: true, extensions: setting, telemetry: metricsAt8888,
	})
	l.enforces(t, open8080)
	s.awaitCode(t, http.StatusNotModified, 2)

	s.sends(shut8080, 0)
	if r := w.awaitChange(t, "loaded", 2); r.str("weir.policy.source") != s.url {
		t.Errorf("the source is %q", r.str("weir.policy.source"))
	}
	l.enforces(t, shut8080)

	s.sends(strings.Replace(open8080, "allow", "alow", 1), 0)
	detail := w.awaitChange(t, "refused", 0).str("weir.policy.detail")
	if !containsAll(detail, []string{s.url + ":5:", "alow", "generation 2 stays in force"}) {
		t.Errorf("the refusal says %s", detail)
	}
	w.awaitLog(t, "Policy refused", s.url+":5:", "alow")
	l.enforces(t, shut8080)
	if told := weirctl(t, socket, "status"); !containsAll(told, []string{"degraded", "alow"}) {
		t.Errorf("status:\n%s", told)
	}
	s.sends(shut8080, 0)
	w.awaitLog(t, "is again the policy in force")

	s.sends(shut8080, http.StatusServiceUnavailable)
	s.awaitCode(t, http.StatusServiceUnavailable, 3)
	const fails = "The policy cannot be fetched. What was fetched last, or the last good policy, is in force"
	w.awaitLog(t, fails, s.url, "503 Service Unavailable")
	if n := strings.Count(w.log(), fails); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	l.enforces(t, shut8080)
	if told := weirctl(t, socket, "status"); !containsAll(told, []string{"degraded", "503 Service Unavailable"}) {
		t.Errorf("status:\n%s", told)
	}
	page := l.a.get(t, "http://127.0.0.1:8888/metrics")
	if failed := regexp.MustCompile(`otelcol_weir_policy_fetches\{outcome="failed"\} (\d+)`).FindStringSubmatch(page); failed == nil || failed[1] < "3" {
		t.Errorf("the failures are not counted: %v", failed)
	}

	// It starts all the same, as after a boot without a network.
	w.stop(t)
	w.restart(t)
	w.awaitLog(t, "The policy was refused. The last good one is in force instead")
	w.awaitLog(t, "Policy refused", "503 Service Unavailable")
	l.enforces(t, shut8080)
	s.sends(open8080, 0)
	w.awaitLog(t, "The policy can be fetched again")
	w.awaitChange(t, "loaded", 3)
	l.enforces(t, open8080)
	await(t, "health", func() bool { return strings.Contains(weirctl(t, socket, "status"), "health      ok") })
}

// TestPolicyFromURLByHash takes one very policy, over a way where anybody may change it.
func TestPolicyFromURLByHash(t *testing.T) {
	t.Parallel()
	hash := func(document string) string { return fmt.Sprintf("sha256: %x", sha256.Sum256([]byte(document))) }
	l := newLab(t)
	s := l.servePolicy(t, false, shut8080)
	w := start(t, l.a, config{url: s.settings(hash(shut8080)), checked: true})
	l.enforces(t, shut8080)
	s.sends(open8080, 0)
	time.Sleep(2500 * time.Millisecond) // another policy cannot come, so nothing is asked
	if codes := s.codes(); len(codes) != 1 {
		t.Errorf("it answered %v", codes)
	}
	l.enforces(t, shut8080)

	// What comes now is refused; what was in force before is.
	w.stop(t)
	w.restart(t)
	w.awaitLog(t, "The last good one is in force instead")
	w.awaitLog(t, "Policy refused", "its SHA-256 is")
	l.enforces(t, shut8080)
	s.sends(shut8080, 0)
	w.awaitLog(t, "The policy can be fetched again")
	l.enforces(t, shut8080)
}

// TestPolicyFromURLRefused: without a policy there was never one, so the Collector does
// not start, and says why.
func TestPolicyFromURLRefused(t *testing.T) {
	t.Parallel()
	sum := func(document string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(document))) }
	for name, tt := range map[string]struct {
		secure bool
		change func(*policyServer)
		more   []string
		names  []string
	}{
		"another hash": {
			false, nil,
			[]string{"sha256: " + sum(shut8080)},
			[]string{"its SHA-256 is " + sum(open8080), "url::sha256 wants " + sum(shut8080), "set url::sha256 to what it is now"},
		},
		"no hash":           {false, nil, nil, []string{"url::sha256 is missing", "or use https://"}},
		"another authority": {true, func(s *policyServer) { s.ca = "" }, nil, []string{"certificate signed by unknown authority"}},
		"away":              {true, func(s *policyServer) { s.sends("", http.StatusBadGateway) }, nil, []string{"502 Bad Gateway"}},
		"broken":            {true, func(s *policyServer) { s.sends("mode: prvent", 0) }, nil, []string{"web.yaml:1:7: mode", "prvent", "prevent"}},
		"a list": {
			true, func(s *policyServer) {
				s.sends("groups: {addresses: {a: {file: /etc/hosts}}}\nrules: [{name: a, action: block, layer3: {source: group:a}}]\n", 0)
			}, nil,
			[]string{"web.yaml:1:32: groups.addresses.a.file", "names no list files", "lists_dir"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.servePolicy(t, tt.secure, open8080)
			if tt.change != nil {
				tt.change(s)
			}
			w := launch(t, l.a, config{url: s.settings(tt.more...), checked: true})
			w.mayFail = true
			w.awaitExit(t)
			if w.err == nil || !containsAll(w.log(), tt.names) {
				t.Errorf("it ended with %v; want %q in\n%s", w.err, tt.names, tail(w.log(), 5))
			}
		})
	}
}
