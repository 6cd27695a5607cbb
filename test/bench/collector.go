package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// collectorConfig is what a line sets of the Collector's configuration.
type collectorConfig struct {
	binary, dir, policy string
	maxEntries          int
	endpoint            string // of OTLP over HTTP; none: records go nowhere
	queue               int    // queue_size; 0: the default
	timeouts            string
}

func (c collectorConfig) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "receivers:\n  ebpf_connection:\n    policy: connection_policy\n    interfaces: {include: [%s, flood]}\n    flow_table: {max_entries: %d", inName, c.maxEntries)
	if c.timeouts != "" {
		fmt.Fprintf(&b, ", timeouts: %s", c.timeouts)
	}
	b.WriteString("}\n")
	if c.queue > 0 {
		fmt.Fprintf(&b, "    queue_size: %d\n", c.queue)
	}
	fmt.Fprintf(&b, "extensions:\n  connection_policy: {file: %q, allow_insecure_files: true}\n", c.policy)
	exporter := "nop"
	if c.endpoint == "" {
		fmt.Fprintf(&b, "exporters:\n  file: {path: /dev/null, append: true, format: proto}\n")
		exporter = "file"
	} else {
		// Blocks: whether the exporter keeps up is what is measured.
		fmt.Fprintf(&b, "exporters:\n  otlp_http: {endpoint: %q, compression: none, sending_queue: {enabled: false}}\n", c.endpoint)
		exporter = "otlp_http"
	}
	fmt.Fprintf(&b, "service:\n  extensions: [connection_policy]\n  pipelines:\n    logs: {receivers: [ebpf_connection], exporters: [%s]}\n", exporter)
	b.WriteString("  telemetry: {logs: {level: info}, metrics: {level: none}}\n")
	return b.String()
}

// collector is a running bin/weir.
type collector struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
}

// startCollector runs bin/weir on a host and waits until it watches.
func startCollector(h *host, cpus []int, config collectorConfig) *collector {
	c := &collector{log: filepath.Join(config.dir, "log"), exited: make(chan struct{})}
	file := filepath.Join(config.dir, "config.yaml")
	must(os.WriteFile(file, []byte(config.yaml()), 0o600), "write a configuration")
	log, err := os.Create(c.log)
	must(err, "write the Collector's log")
	defer log.Close()
	c.cmd = exec.Command(config.binary, "--config", file)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	// With one processor for itself it would have one thread at work at a time, as it has
	// on no host with two.
	c.cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", max(2, len(cpus))))
	startOn(h, cpus, c.cmd)
	go func() {
		c.cmd.Wait()
		close(c.exited)
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(c.log)
		if strings.Contains(string(text), "Everything is ready.") {
			time.Sleep(300 * time.Millisecond) // until it listens to signals
			return c
		}
		select {
		case <-c.exited:
			must(fmt.Errorf("it ended: %s", tail(text)), "start the Collector")
		default:
		}
		if time.Now().After(deadline) {
			c.close()
			must(errors.New("it is not ready after a minute"), "start the Collector")
		}
	}
}

func tail(text []byte) string { return string(text[max(0, len(text)-1500):]) }

func (c *collector) pid() int { return c.cmd.Process.Pid }

// close ends it as a service manager does.
func (c *collector) close() {
	c.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-c.exited:
	case <-time.After(30 * time.Second):
		c.cmd.Process.Kill()
		<-c.exited
	}
}

func temporary() string {
	dir, err := os.MkdirTemp("", "weir-bench")
	must(err, "make a folder")
	return dir
}

func milliseconds(f func()) float64 {
	began := time.Now()
	f()
	return time.Since(began).Seconds() * 1000
}
