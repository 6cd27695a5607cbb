package distribution

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Of the example's settings these are other than in the file: a capture instead of
// the kernel, and no second copy of the Collector's own metrics.
const (
	replayed = "yaml:receivers::ebpf_connection::capture_file: testdata/captures/sample.pcap"
	unmeant  = "yaml:service::telemetry::metrics::level: none"
)

// TestEventsFile: the example leaves every record of the capture in the file.
func TestEventsFile(t *testing.T) {
	events := filepath.Join(t.TempDir(), "events.json")
	t.Setenv("EVENTS", events)
	run(t, root(t), binary(t), "--config", "examples/events-file.yaml", "--config", replayed,
		"--config", "yaml:receivers::ebpf_connection::capture_stop: true", "--config", unmeant)
	complete(t, events)

	// The page's question, of what a replay has instead of "blocked".
	tool, err := exec.LookPath("jq")
	if err != nil {
		t.Skip("jq is not installed")
	}
	for _, block := range shellOf(t, "docs/events.md") {
		if question, is := strings.CutPrefix(block, "jq "); is {
			question = strings.NewReplacer("blocked", "detected", "/var/log/weir/events.json", events).Replace(question)
			if lines := strings.Count(run(t, root(t), "bash", "-c", tool+" "+question), "\n"); lines == 0 {
				t.Errorf("%s finds nothing", question)
			}
			return
		}
	}
	t.Error("docs/events.md does not ask jq any more")
}

// TestEventsOTLP: records wait on disk for a Collector that is not there, also when
// this one is killed meanwhile.
func TestEventsOTLP(t *testing.T) {
	folder := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, events := l.Addr().String(), filepath.Join(folder, "events.json")
	l.Close()
	t.Setenv("OTLP_ENDPOINT", address)
	t.Setenv("QUEUE", filepath.Join(folder, "queue"))

	sender := start(t, "--config", "examples/events-otlp.yaml", "--config", replayed, "--config", unmeant)
	sender.await(t, "replay") // its summary
	awaitQueued(t, filepath.Join(folder, "queue"))
	sender.cmd.Process.Kill()
	sender.cmd.Wait()

	start(t, "--config", "yaml:"+strings.ReplaceAll(strings.ReplaceAll(`
receivers: {otlp: {protocols: {grpc: {endpoint: ADDRESS}}}}
exporters: {file: {path: EVENTS, flush_interval: 100ms}}
service:
  pipelines: {logs: {receivers: [otlp], exporters: [file]}}
  telemetry: {metrics: {level: none}}
`, "ADDRESS", address), "EVENTS", events))
	// Nothing new is recorded: an empty capture.
	empty := filepath.Join(folder, "empty.pcap")
	capture, err := os.ReadFile(filepath.Join(root(t), "testdata", "captures", "sample.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, empty, string(capture[:24])) // the file's header
	start(t, "--config", "examples/events-otlp.yaml", "--config", "yaml:receivers::ebpf_connection::capture_file: "+empty, "--config", unmeant)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if text, err := os.ReadFile(events); err == nil && strings.Count(string(text), "weir.connection.end") >= sampleEnds {
			break
		}
	}
	complete(t, events)
}

// awaitQueued waits until the queue on disk has the last of the sample's records.
func awaitQueued(t *testing.T, folder string) {
	t.Helper()
	queued := 0
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		files, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			t.Fatal(err)
		}
		queued = 0
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			queued += strings.Count(string(text), "weir.connection.end")
		}
		if queued >= sampleEnds {
			return
		}
	}
	t.Fatalf("%d ends are on disk, want %d", queued, sampleEnds)
}

// sampleEnds is how many connections end in the sample.
const sampleEnds = 9

func complete(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"weir.connection.start": sampleEnds, "weir.connection.end": sampleEnds, "weir.http.request": 2, "weir.dns.query": 1} {
		if n := strings.Count(string(text), `"`+name+`"`); n != want {
			t.Errorf("%d records %s, want %d", n, name, want)
		}
	}
}

// collector is a bin/weir that runs until the test ends.
type collector struct {
	cmd *exec.Cmd
	log string
}

func start(t *testing.T, args ...string) collector {
	t.Helper()
	c := collector{cmd: exec.Command(binary(t), args...), log: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(c.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.cmd.Dir, c.cmd.Stderr = root(t), log
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		c.cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(c.log)
			t.Logf("%s", text)
		}
	})
	return c
}

func (c collector) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if log, _ := os.ReadFile(c.log); strings.Contains(strings.ToLower(string(log)), text) {
			return
		}
	}
	t.Fatalf("%q is not in the log", text)
}
