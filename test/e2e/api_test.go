package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
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
	// Of those that were closed on one side only some may still be there.
	if dry := callAPI(t, socket, "-T", file, "/v1/policy?dry_run=true"); dry["cut_count"].(float64) < 1 || !strings.Contains(fmt.Sprint(dry["cuts"]), kept.source.String()) {
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
	// A reload makes a new API on the same socket.
	w.signal(t, unix.SIGHUP)
	w.awaitReady(t, 2)
	if document := callAPI(t, socket, "/v1/policy")["document"]; document != shut {
		t.Errorf("after a reload the policy is %q", document)
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

// TestAPISubscribers: under a storm of blocked connections, and beside subscribers
// that are stuck, nobody misses an event without being told. The statistics have what
// the kernel has counted.
func TestAPISubscribers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := newPolicy(t, "mode: prevent\nreject: never\nrules: [{name: web, action: allow, layer4: {tcp: 80}}]\n")
	setting, socket := apiOf(t)
	w := start(t, l.a, config{policy: string(p), extensions: setting})
	w.partial = true // most of a storm is counted together
	const subscribers, stuck = 20, 10
	subscribe := func() net.Conn {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write([]byte("GET /v1/events HTTP/1.0\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for range stuck {
		subscribe()
	}
	var followers [subscribers - stuck]follower
	for i := range followers {
		go followers[i].read(subscribe())
	}
	await(t, "the subscriptions", func() bool { return callAPI(t, socket, "/v1/health")["subscribers"].(float64) == subscribers })
	storm := l.blockedStorm(t, l.b, l.address(l.a, ipv4, 0))
	time.Sleep(5 * time.Second)
	sent := storm.end()
	var statistics map[string]any
	var counted float64
	var kernel int64
	awaitOr(t, func() bool {
		kernel = w.metric(t, "weir.connection.verdicts", "weir.verdict")["blocked"]
		statistics, counted = callAPI(t, socket, "/v1/statistics?window=1h&by=blocked"), 0
		for _, point := range statistics["series"].([]any) {
			counted += point.(map[string]any)["blocked"].(float64)
		}
		return kernel >= sent && int64(counted) == kernel
	}, func() {
		t.Fatalf("%d were sent, the kernel counted %d, the statistics %v, %v were missed", sent, kernel, counted, statistics["missed"])
	})
	await(t, "the followers to come to the end", func() bool {
		last := followers[0].last.Load()
		for i := range followers {
			if followers[i].last.Load() != last {
				return false
			}
		}
		return last > sent/100
	})
	for i := range followers {
		f := &followers[i]
		if wrong := f.wrong.Load(); wrong != nil {
			t.Error(*wrong)
		}
		t.Logf("a follower was told of %d events, and that it missed %d", f.told.Load(), f.lost.Load())
	}
	for cause, n := range callAPI(t, socket, "/v1/health")["lost"].(map[string]any) {
		if n.(float64) != 0 {
			t.Errorf("%v records were lost: %s", n, cause)
		}
	}
	t.Logf("%d connections", kernel)
}

// follower reads events, and sees to it that their numbers follow each other but
// where it is told of a gap.
type follower struct {
	last, told, lost atomic.Int64
	wrong            atomic.Pointer[string]
}

func (f *follower) read(c net.Conn) {
	lines := bufio.NewScanner(c)
	lines.Buffer(nil, 1<<20)
	gap := int64(0)
	for lines.Scan() {
		line := lines.Text()
		_, after, found := strings.Cut(line, `{"id":"`)
		id, rest, _ := strings.Cut(after, `"`)
		_, number, _ := strings.Cut(id, ".")
		n, err := strconv.ParseInt(number, 10, 64)
		switch {
		case !found:
			continue // headers, and empty lines where nothing happens
		case err != nil:
			wrong := "what is " + line
			f.wrong.Store(&wrong)
			return
		case strings.Contains(rest, `"weir.api.lost"`):
			_, text, _ := strings.Cut(rest, `"lost":`)
			lost, _ := strconv.ParseInt(strings.TrimSuffix(text, "}"), 10, 64)
			f.lost.Add(lost)
			if last := f.last.Load(); last != 0 && n > last {
				f.last.Store(n) // missed before they came into the buffer: that has a number itself
			} else {
				gap += lost
			}
			continue
		}
		if last := f.last.Load(); last != 0 && n != last+gap+1 {
			wrong := fmt.Sprintf("event %d follows event %d, and it was told of %d in between", n, last, gap)
			f.wrong.Store(&wrong)
		}
		gap = 0
		f.told.Add(1)
		f.last.Store(n)
	}
}

// TestAPIAfterAKill: what was put in force for a time ends without anybody there. So
// does a policy that blocks the operator's own SSH.
func TestAPIAfterAKill(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	open := strings.Replace(open2, "[8080, 9090]", "[8080, 9090, 22]", 1)
	p := newPolicy(t, open)
	setting, socket := apiOf(t)
	w := start(t, l.a, config{policy: string(p), extensions: setting})
	for _, port := range []uint16{8080, 9090} {
		l.b.listenTCP(t, netip.AddrPortFrom(l.address(l.b, ipv4, 0), port))
	}
	file := filepath.Join(t.TempDir(), "new.yaml")
	if err := os.WriteFile(file, []byte(shutAll), 0o600); err != nil {
		t.Fatal(err)
	}
	ssh := netip.AddrPortFrom(l.address(l.a, ipv4, 0), 22)
	operator := l.connect(t, l.b, l.a, ssh)
	operator.chat(t)
	l.a.listenTCP(t, ssh) // as sshd goes on to do
	callAPI(t, socket, "-d", `{"rule": {"name": "no-9090", "action": "block", "layer4": {"tcp": 9090}}, "for": "1h"}`, "/v1/rules/temporary")
	callAPI(t, socket, "-d", `{"rule": {"name": "no-8080", "action": "block", "layer4": {"tcp": 8080}}, "for": "4s"}`, "/v1/rules/temporary")
	callAPI(t, socket, "-T", file, "-H", "If-Match: *", "/v1/policy?confirm_within=4s")
	inForce := time.Now()
	if !l.refuses(8080) || !l.refuses(9090) {
		t.Error("the policy that locks everybody out is not in force")
	}
	if d := l.b.dialTCP(ssh, silence); d.err == nil && time.Since(inForce) < 3*time.Second {
		t.Error("the operator gets in under a policy that blocks that")
	}
	w.kill(t)
	await(t, "the policy before and the end of the temporary rule, with nobody there", func() bool { return l.takes(t, 8080) })
	operator.chat(t)
	if d := l.b.dialTCP(ssh, patience); d.err != nil {
		t.Errorf("the operator does not get in again: %v", d.err)
	}
	if !l.refuses(9090) {
		t.Error("the other temporary rule ended, too")
	}
	w.restart(t)
	await(t, "the API", func() bool {
		return exec.Command("curl", "-sf", "--unix-socket", socket, "http://weir/v1/health").Run() == nil
	})
	document := callAPI(t, socket, "/v1/policy")
	if document["document"] != open || len(document["temporary"].([]any)) != 1 {
		t.Errorf("after a restart the policy is %v", document)
	}
	if !l.takes(t, 8080) || !l.refuses(9090) {
		t.Error("after a restart it is not what it was before")
	}
}
