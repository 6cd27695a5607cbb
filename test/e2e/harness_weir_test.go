package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait. The machine may be busy with other things: what
// takes long on an idle one is the test's concern, not this number's.
// WEIR_PATIENCE is another, for machines that are slow (scripts/kernels/run.sh).
var patience = func() time.Duration {
	if given, err := time.ParseDuration(os.Getenv("WEIR_PATIENCE")); err == nil {
		return given
	}
	return 30 * time.Second
}()

// weir is a running Collector.
type weir struct {
	dir     string
	config  config
	host    *host
	cmd     *exec.Cmd
	exited  chan struct{}
	err     error // valid once exited is closed
	ready   time.Time
	logs    logReader
	mayFail bool // it may end by itself
	partial bool // not all starts are in its records: lost, or told by the one before
}

// start runs the Collector on a host until the end of the test, and waits until
// it watches.
func start(t *testing.T, h *host, c config) *weir {
	t.Helper()
	w := launch(t, h, c)
	w.awaitReady(t, 1)
	return w
}

// launch does not wait.
func launch(t *testing.T, h *host, c config) *weir {
	t.Helper()
	w := &weir{dir: t.TempDir(), config: c, host: h}
	w.logs.path = signalFile(w.dir, "logs")
	if err := os.WriteFile(w.file("config.yaml"), []byte(c.yaml(w.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.begin(t, weirBinary(t), "--config", w.file("config.yaml"))
	t.Cleanup(func() {
		w.stop(t)
		if t.Failed() {
			t.Logf("the Collector's log:\n%s", tail(w.log(), 60))
		} else {
			w.audit(t)
		}
	})
	return w
}

// restart runs the same Collector again, after it has ended.
func (w *weir) restart(t *testing.T) {
	t.Helper()
	ready := strings.Count(w.log(), readyLine)
	w.begin(t, weirBinary(t), "--config", w.file("config.yaml"))
	w.awaitReady(t, ready+1)
}

func (w *weir) begin(t *testing.T, command ...string) {
	t.Helper()
	out, err := os.OpenFile(w.file("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w.cmd = exec.Command("/proc/self/exe", append([]string{asCollector}, command...)...)
	w.cmd.Stdout, w.cmd.Stderr = out, out
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	w.host.do(func() { err = w.cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	w.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		w.err = cmd.Wait()
		close(exited)
	}(w.cmd, w.exited)
}

// readyLine is what the Collector logs when all components have started.
const readyLine = "Everything is ready. Begin running and processing data."

// awaitReady waits until the Collector has started so many times.
func (w *weir) awaitReady(t *testing.T, times int) {
	t.Helper()
	await(t, "the Collector's start", func() bool {
		if w.hasExited() {
			t.Fatalf("the Collector ended: %v", w.err)
		}
		return strings.Count(w.log(), readyLine) >= times
	})
	w.ready = time.Now()
}

func (w *weir) hasExited() bool {
	select {
	case <-w.exited:
		return true
	default:
		return false
	}
}

// stop ends the Collector as a service manager does, and checks that it ends
// well.
func (w *weir) stop(t *testing.T) {
	t.Helper()
	if w.hasExited() {
		return
	}
	w.signal(t, unix.SIGTERM)
	w.awaitExit(t)
	if w.err != nil && !w.mayFail {
		t.Errorf("the Collector ended with %v", w.err)
	}
}

// kill ends it without notice.
func (w *weir) kill(t *testing.T) {
	t.Helper()
	w.partial = true
	w.signal(t, unix.SIGKILL)
	w.awaitExit(t)
}

func (w *weir) signal(t *testing.T, s unix.Signal) {
	t.Helper()
	// The Collector begins to take signals a moment after it says that it is ready;
	// until then they end it.
	if !w.ready.IsZero() {
		await(t, "the Collector to take signals", w.takesSignals)
	}
	if err := w.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal the Collector: %v", err)
	}
	if s == unix.SIGSTOP {
		await(t, "all threads to stop", w.isStopped)
	}
}

// isStopped says whether none of its threads runs any more.
func (w *weir) isStopped() bool {
	states, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", w.pid()))
	for _, name := range states {
		text, err := os.ReadFile(name)
		// "pid (name) state …"
		if _, after, found := bytes.Cut(text, []byte(") ")); err != nil || !found || after[0] != 'T' {
			return false
		}
	}
	return err == nil && len(states) > 0
}

// takesSignals says whether it does by now. It was started with SIGINT ignored (see
// runCollector), which ends when it asks for that; for SIGHUP it has asked before, and for
// SIGTERM it asks in the same breath.
func (w *weir) takesSignals() bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.pid()))
	if err != nil {
		return true // it has ended
	}
	_, ignored, _ := strings.Cut(string(status), "\nSigIgn:\t")
	ignored, _, _ = strings.Cut(ignored, "\n")
	mask, err := strconv.ParseUint(ignored, 16, 64)
	return err == nil && mask>>(unix.SIGINT-1)&1 == 0
}

func (w *weir) awaitExit(t *testing.T) {
	t.Helper()
	select {
	case <-w.exited:
	case <-time.After(patience):
		w.cmd.Process.Kill()
		t.Fatal("the Collector does not end")
	}
}

func (w *weir) pid() int { return w.cmd.Process.Pid }

func (w *weir) file(name string) string { return filepath.Join(w.dir, name) }

// log is what the Collector has logged so far.
func (w *weir) log() string {
	text, _ := os.ReadFile(w.file("log")) // empty before the start
	return string(bytes.ToValidUTF8(text, []byte("?")))
}

// awaitLog waits for a line of the Collector's log that has all the parts.
func (w *weir) awaitLog(t *testing.T, parts ...string) string {
	t.Helper()
	var found string
	await(t, fmt.Sprintf("a log line with %q", parts), func() bool {
		for line := range strings.Lines(w.log()) {
			if containsAll(line, parts) {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

func containsAll(line string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(line, part) {
			return false
		}
	}
	return true
}

// await polls until the condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	awaitOr(t, condition, func() { t.Fatalf("waited %v in vain for %s", patience, what) })
}

// awaitOr lets failed say why the test ends, where it never holds.
func awaitOr(t *testing.T, condition func() bool, failed func()) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			failed()
			t.FailNow()
		}
	}
}

func deadline(after time.Duration) time.Time { return time.Now().Add(after) }

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
