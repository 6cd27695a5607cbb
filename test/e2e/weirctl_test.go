package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// weirctlFolder has weirctl, once it was built, until the tests are through.
var weirctlFolder string

var weirctlOnce = sync.OnceValues(func() (string, error) {
	var err error
	if weirctlFolder, err = os.MkdirTemp("", "weirctl"); err != nil {
		return "", err
	}
	path := filepath.Join(weirctlFolder, "weirctl")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/weirctl").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build weirctl: %w\n%s", err, out)
	}
	return path, err
})

// weirctlBinary builds weirctl from this checkout, once.
func weirctlBinary(t *testing.T) string {
	t.Helper()
	tool(t, "go")
	path, err := weirctlOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// weirctl runs a command that succeeds, and gives what it printed.
func weirctl(t *testing.T, socket string, arguments ...string) string {
	t.Helper()
	cmd := exec.Command(weirctlBinary(t), append(arguments, "--socket", socket)...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("weirctl %v: %v\n%s%s", arguments, err, out, complaints.String())
	}
	return string(out)
}

// terminal makes a pseudo terminal the standard input of a command; what is written
// to the other end was typed.
func terminal(t *testing.T, cmd *exec.Cmd) (typed *os.File) {
	t.Helper()
	typed, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no pseudo terminals: ", err)
	}
	t.Cleanup(func() { typed.Close() })
	n, err := unix.IoctlGetInt(int(typed.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(typed.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no pseudo terminals: ", err)
	}
	t.Cleanup(func() { in.Close() })
	cmd.Stdin = in
	return typed
}

// output is what a command has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// TestWeirctl follows events, blocks for a time, and applies a policy that stays,
// all against a Weir with real connections.
func TestWeirctl(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := newPolicy(t, open2)
	setting, socket := apiOf(t)
	start(t, l.a, config{policy: string(p), checked: true, extensions: setting})
	for _, port := range []uint16{8080, 9090} {
		l.b.listenTCP(t, netip.AddrPortFrom(l.address(l.b, ipv4, 0), port))
	}
	at := func(port uint16) string { return netip.AddrPortFrom(l.address(l.b, ipv4, 0), port).String() }
	if s := weirctl(t, socket, "status"); !containsAll(s, []string{"prevent", "generation 1, 1 rule", "health      ok"}) {
		t.Errorf("status:\n%s", s)
	}

	var events output
	follow := exec.Command(weirctlBinary(t), "events", "--socket", socket, "--event", "weir.connection.start", "--verdict", "blocked")
	follow.Stdout, follow.Stderr = &events, &events
	l.a.spawn(t, follow)
	await(t, "the subscription", func() bool { return strings.Contains(weirctl(t, socket, "status"), "1 subscriber\n") })

	// For a time.
	weirctl(t, socket, "block", "--direction", "outbound", "--destination", at(9090), "--transport", "tcp", "--for", "5s", "--name", "lunch")
	if !l.refuses(9090) || !l.takes(t, 8080) {
		t.Error("the temporary rule is not in force, or more than it")
	}
	await(t, "the event", func() bool { return containsAll(events.String(), []string{at(9090), "rule=temporary:lunch"}) })
	if s := weirctl(t, socket, "rules"); !strings.Contains(s, "temporary:lunch") {
		t.Errorf("rules:\n%s", s)
	}
	await(t, "the rule's end", func() bool { return l.takes(t, 9090) })
	if s := weirctl(t, socket, "rules", "--temporary"); !strings.Contains(s, "no temporary rules") {
		t.Errorf("temporary rules:\n%s", s)
	}

	// A change that cuts a live connection, and stays.
	kept := l.a.dialTCP(netip.AddrPortFrom(l.address(l.b, ipv4, 0), 8080), patience)
	if kept.err != nil {
		t.Fatal(kept.err)
	}
	defer kept.conn.Close()
	if s := weirctl(t, socket, "connections", "--rule", "ours"); !strings.Contains(s, at(8080)) {
		t.Errorf("connections:\n%s", s)
	}
	shut := strings.Replace(open2, "[8080, 9090]", "9090", 1)
	file := newPolicy(t, shut)
	if s := weirctl(t, socket, "apply", string(file), "--yes", "--confirm-within", "1m"); !containsAll(s, []string{"- 8080", "It cuts ", at(8080), "weirctl confirm"}) {
		t.Errorf("apply:\n%s", s)
	}
	if !l.refuses(8080) || !l.takes(t, 9090) {
		t.Error("the new policy is not in force")
	}
	if content, err := os.ReadFile(string(p)); err != nil || string(content) != open2 {
		t.Errorf("before the confirmation the file has %q, %v", content, err)
	}
	weirctl(t, socket, "confirm")
	if content, err := os.ReadFile(string(p)); err != nil || string(content) != shut {
		t.Errorf("the file has %q, %v", content, err)
	}
	if s := weirctl(t, socket, "top"); !containsAll(s, []string{"tcp/8080", "tcp/9090", "ours"}) {
		t.Errorf("top:\n%s", s)
	}
}

// TestWeirctlLocksItselfOut applies a policy that blocks the connection of whoever
// applies it. Nobody can answer, and Weir is killed meanwhile: the connection lives on
// all the same.
func TestWeirctlLocksItselfOut(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const open = "mode: prevent\nrules:\n  - {name: operator, action: allow, direction: inbound, layer4: {tcp: 22}}\n  - {name: ours, action: allow, layer4: {tcp: 8080}}\n"
	p := newPolicy(t, open)
	setting, socket := apiOf(t)
	w := start(t, l.a, config{policy: string(p), extensions: setting})
	ssh := netip.AddrPortFrom(l.address(l.a, ipv4, 0), 22)
	operator := l.connect(t, l.b, l.a, ssh)
	operator.chat(t)

	file := newPolicy(t, "mode: prevent\nrules: [{name: ours, action: allow, layer4: {tcp: 8080}}]\n")
	apply := exec.Command(weirctlBinary(t), "apply", string(file), "--socket", socket, "--confirm-within", "5s")
	var said output
	apply.Stdout, apply.Stderr = &said, &said
	typed := terminal(t, apply)
	l.a.spawn(t, apply)
	await(t, "the first question", func() bool { return strings.Contains(said.String(), "Put it in force?") })
	if !containsAll(said.String(), []string{"rule 1 operator", "It cuts 1 live connection", ssh.String()}) {
		t.Errorf("before the question it says\n%s", said.String())
	}
	if _, err := typed.WriteString("y\n"); err != nil {
		t.Fatal(err)
	}
	await(t, "the second question", func() bool { return strings.Contains(said.String(), "Are you still there") })
	inForce := time.Now()
	w.kill(t)
	l.a.listenTCP(t, ssh)
	if d := l.b.dialTCP(ssh, time.Second); d.err == nil && time.Since(inForce) < 4*time.Second {
		t.Error("the operator gets in under a policy that blocks that")
	}
	// Nothing is sent on the operator's connection meanwhile.
	await(t, "the end of apply", func() bool { return strings.Contains(said.String(), "nobody answered") })
	time.Sleep(500 * time.Millisecond)
	operator.chat(t)
	if d := l.b.dialTCP(ssh, patience); d.err != nil {
		t.Errorf("the operator does not get in again: %v", d.err)
	}
	err := exec.Command(weirctlBinary(t), "status", "--socket", socket).Run()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("status of a Weir that was killed: %v", err)
	}

	w.restart(t)
	await(t, "the API", func() bool { return exec.Command(weirctlBinary(t), "status", "--socket", socket).Run() == nil })
	if s := weirctl(t, socket, "status"); !strings.Contains(s, "2 rules") || strings.Contains(s, "waits to be confirmed") {
		t.Errorf("after a restart the status is\n%s", s)
	}
	operator.chat(t)
}
