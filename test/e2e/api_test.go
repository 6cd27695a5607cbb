package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// open2 is a policy with two open ports.
const open2 = "mode: prevent\nrules: [{name: ours, action: allow, layer4: {tcp: [8080, 9090]}}]\n"

// apiOf is the configuration of an API, and its socket.
func apiOf(t *testing.T) (setting, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "run", "api.sock")
	return fmt.Sprintf("connection_api: {endpoint: %q}", socket), socket
}

// curl calls the API as anybody does, and gives the status and the body.
func curl(t *testing.T, socket string, arguments ...string) (status, body string) {
	t.Helper()
	path := arguments[len(arguments)-1]
	arguments = append([]string{"-sS", "--unix-socket", socket, "-w", "\n%{http_code}", "--max-time", "30"}, arguments[:len(arguments)-1]...)
	out, err := exec.Command("curl", append(arguments, "http://weir"+path)...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl %s: %v\n%s", path, err, out)
	}
	at := strings.LastIndexByte(string(out), '\n')
	return string(out[at+1:]), string(out[:at])
}

// callAPI is a call that succeeds; it is read into a map.
func callAPI(t *testing.T, socket string, arguments ...string) map[string]any {
	t.Helper()
	status, body := curl(t, socket, arguments...)
	if status[0] != '2' {
		t.Fatalf("%s: %s\n%s", arguments[len(arguments)-1], status, body)
	}
	var all map[string]any
	if body != "" {
		if err := json.Unmarshal([]byte(body), &all); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
	}
	return all
}

// refuses and takes say what becomes of a new connection.
func (l *lab) refuses(port uint16) bool {
	d := l.a.dialTCP(netip.AddrPortFrom(l.address(l.b, ipv4, 0), port), patience)
	return errors.Is(d.err, unix.ECONNREFUSED)
}

func (l *lab) takes(t *testing.T, port uint16) bool {
	t.Helper()
	d := l.a.dialTCP(netip.AddrPortFrom(l.address(l.b, ipv4, 0), port), patience)
	if d.err == nil {
		d.conn.Close()
	}
	return d.err == nil
}

// TestAPI asks, changes, watches and undoes with curl.
func TestAPI(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := newPolicy(t, open2)
	setting, socket := apiOf(t)
	auditFile := filepath.Join(t.TempDir(), "audit", "audit.log")
	w := start(t, l.a, config{policy: string(p), checked: true, extensions: setting, extension: fmt.Sprintf("audit: {path: %q}", auditFile)})
	for _, port := range []uint16{8080, 9090} {
		l.b.listenTCP(t, netip.AddrPortFrom(l.address(l.b, ipv4, 0), port))
	}

	// Watch.
	events := exec.Command("curl", "-sSN", "--unix-socket", socket, "http://weir/v1/events?address="+l.address(l.b, ipv4, 0).String())
	out, err := events.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { events.Process.Kill(); events.Wait() }()
	lines := make(chan string, 100)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	time.Sleep(500 * time.Millisecond) // curl has subscribed

	kept := l.a.dialTCP(netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080), patience)
	if kept.err != nil {
		t.Fatal(kept.err)
	}
	defer kept.conn.Close()
	select {
	case line := <-lines:
		if !strings.Contains(line, `"event":"weir.connection.start"`) || !strings.Contains(line, "rule=ours") {
			t.Errorf("the first event is %s", line)
		}
	case <-time.After(patience):
		t.Fatal("no event came")
	}

	// Ask.
	if h := callAPI(t, socket, "/v1/health"); h["status"] != "ok" || h["interfaces"].(float64) != 1 {
		t.Errorf("health: %v", h)
	}
	live := callAPI(t, socket, "/v1/connections?rule=ours")
	found := live["connections"].([]any)[0].(map[string]any)
	if live["total"].(float64) != 1 || found["verdict"] != "allowed" || found["destination"].(map[string]any)["port"].(float64) != 8080 {
		t.Errorf("connections: %v", live)
	}
	rules := callAPI(t, socket, "/v1/rules")["rules"].([]any)
	if last := rules[len(rules)-1].(map[string]any); last["name"] != "ours" || last["matches"].(float64) != 1 || last["last_match"] == nil {
		t.Errorf("rules: %v", last)
	}
	verdict := callAPI(t, socket, "-d", `{"direction": "inbound", "destination": "192.0.2.1:22"}`, "/v1/evaluate")["verdict"]
	if verdict != "block" {
		t.Errorf("evaluate: %v", verdict)
	}

	// A rule for a time, which ends by itself.
	callAPI(t, socket, "-d", `{"rule": {"name": "no-9090", "action": "block", "layer4": {"tcp": 9090}}, "for": "6s"}`, "/v1/rules/temporary")
	if !l.refuses(9090) || !l.takes(t, 8080) {
		t.Error("the temporary rule is not in force, or more than it")
	}
	p.replace(t, open2+"# changed\n")
	w.awaitChange(t, "loaded", 3)
	if !l.refuses(9090) {
		t.Error("the temporary rule did not survive another policy")
	}
	await(t, "the rule's end", func() bool { return l.takes(t, 9090) })

	// A change that is taken back, and one that stays.
	tag := "If-Match: \"" + callAPI(t, socket, "/v1/policy")["etag"].(string) + "\""
	shut := strings.Replace(open2, "[8080, 9090]", "9090", 1)
	file := filepath.Join(t.TempDir(), "new.yaml")
	if err := os.WriteFile(file, []byte(shut), 0o600); err != nil {
		t.Fatal(err)
	}
	if dry := callAPI(t, socket, "-T", file, "/v1/policy?dry_run=true"); dry["cut_count"].(float64) != 1 {
		t.Errorf("dry run: %v", dry)
	}
	callAPI(t, socket, "-T", file, "-H", tag, "/v1/policy?confirm_within=5m")
	if !l.refuses(8080) {
		t.Error("the new policy is not in force")
	}
	callAPI(t, socket, "-X", "POST", "/v1/policy/rollback")
	if !l.takes(t, 8080) {
		t.Error("the policy before is not in force")
	}
	callAPI(t, socket, "-T", file, "-H", tag, "/v1/policy")
	if !l.refuses(8080) {
		t.Error("the new policy is not in force")
	}
	if content, err := os.ReadFile(string(p)); err != nil || string(content) != shut {
		t.Errorf("the file has %q, %v", content, err)
	}
	if status, body := curl(t, socket, "-T", file, "-H", tag, "/v1/policy"); status != "412" {
		t.Errorf("a tag that is not of the policy in force: %s %s", status, body)
	}
	for _, want := range []string{
		"call      user 0 (process ", ": POST /v1/rules/temporary done", ": PUT /v1/policy done", "PUT /v1/policy refused: the policy is another one by now",
		"policy    rolled_back generation", "~ rule 1 ours: layer4.tcp.destination_ports: - 8080",
	} {
		await(t, want, func() bool {
			content, err := os.ReadFile(auditFile)
			return err == nil && strings.Contains(string(content), want)
		})
	}
}

// TestAPIAfterAKill: what was put in force for a time ends without anybody there.
func TestAPIAfterAKill(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := newPolicy(t, open2)
	setting, socket := apiOf(t)
	w := start(t, l.a, config{policy: string(p), extensions: setting})
	for _, port := range []uint16{8080, 9090} {
		l.b.listenTCP(t, netip.AddrPortFrom(l.address(l.b, ipv4, 0), port))
	}
	file := filepath.Join(t.TempDir(), "new.yaml")
	if err := os.WriteFile(file, []byte(shutAll), 0o600); err != nil {
		t.Fatal(err)
	}
	callAPI(t, socket, "-d", `{"rule": {"name": "no-9090", "action": "block", "layer4": {"tcp": 9090}}, "for": "1h"}`, "/v1/rules/temporary")
	callAPI(t, socket, "-d", `{"rule": {"name": "no-8080", "action": "block", "layer4": {"tcp": 8080}}, "for": "4s"}`, "/v1/rules/temporary")
	callAPI(t, socket, "-T", file, "-H", "If-Match: *", "/v1/policy?confirm_within=4s")
	if !l.refuses(8080) || !l.refuses(9090) {
		t.Error("the policy that locks everybody out is not in force")
	}
	w.kill(t)
	await(t, "the policy before and the end of the temporary rule, with nobody there", func() bool { return l.takes(t, 8080) })
	if !l.refuses(9090) {
		t.Error("the other temporary rule ended, too")
	}
	w.restart(t)
	await(t, "the API", func() bool {
		return exec.Command("curl", "-sf", "--unix-socket", socket, "http://weir/v1/health").Run() == nil
	})
	document := callAPI(t, socket, "/v1/policy")
	if document["document"] != open2 || len(document["temporary"].([]any)) != 1 {
		t.Errorf("after a restart the policy is %v", document)
	}
	if !l.takes(t, 8080) || !l.refuses(9090) {
		t.Error("after a restart it is not what it was before")
	}
}
