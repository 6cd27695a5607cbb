package distribution

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// detectScript runs bin/weir as `make run` does, in namespaces of its own (the
// host's interfaces and pins stay untouched), joined to a peer by veth. Each
// line it reads makes it connect to a closed port of the peer.
const detectScript = `
mount -t bpf bpf /sys/fs/bpf
unshare --net sleep infinity & peer=$!
trap 'kill "$peer"' EXIT
until [ "$(readlink /proc/$peer/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add w0 type veth peer name p0
ip link set p0 netns "$peer"
ip address add 192.0.2.1/24 dev w0
ip link set w0 up
ip route add default via 192.0.2.2
nsenter --net="/proc/$peer/ns/net" ip address add 192.0.2.2/24 dev p0
nsenter --net="/proc/$peer/ns/net" ip link set p0 up

bin/weir --config examples/detect.yaml & weir=$!
while read -r && kill -0 "$weir"; do
  (exec 3<>/dev/tcp/192.0.2.2/9) 2>/dev/null || true
done
kill -INT "$weir"
wait "$weir"
ls /sys/fs/bpf
`

// TestDetectPrintsLines watches a connection with the first example: a line
// when it begins and one when it ends, within a second; and nothing of Weir
// stays in the kernel's file system afterwards.
func TestDetectPrintsLines(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: loads programs into the kernel")
	}
	binary(t)
	cmd := exec.Command("unshare", "--net", "--mount", "--propagation", "private", "bash", "-euc", detectScript)
	cmd.Dir = root(t)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	connect, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		scanner := bufio.NewScanner(stdout)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
		close(lines)
	}()

	// The first connections may come before the programs are attached.
	var got []string
	running := true
	for deadline := time.Now().Add(30 * time.Second); running && len(got) == 0 && time.Now().Before(deadline); {
		io.WriteString(connect, "\n")
		got, running = linesOf(lines, time.Second)
	}
	if len(got) > 0 {
		io.WriteString(connect, "\n")
		got, _ = linesOf(lines, time.Second)
		if len(got) != 2 || !strings.HasPrefix(got[0], "detected  outbound tcp 192.0.2.1:") ||
			!strings.HasPrefix(got[1], "end       outbound tcp 192.0.2.1:") || !strings.Contains(got[1], " rst ") {
			t.Errorf("a connection that is refused gave %q, not its start and end", got)
		}
	} else {
		t.Error("no line about a connection")
	}

	connect.Close()
	var last []string
	for line := range lines {
		last = append(last, line)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("run bin/weir: %v", err)
	}
	for _, line := range last {
		if filepath.Base(line) == "weir" {
			t.Error("pins stay in /sys/fs/bpf/weir after the end in detect mode")
		}
	}
	if t.Failed() {
		t.Logf("standard error:\n%s", stderr.String())
	}
}

// linesOf collects the lines about connections to the peer's port until the
// time is over; open is false when no more lines can come.
func linesOf(lines <-chan string, within time.Duration) (got []string, open bool) {
	timeout := time.After(within)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return got, false
			}
			if strings.Contains(line, " → 192.0.2.2:9 ") {
				got = append(got, line)
			}
		case <-timeout:
			return got, true
		}
	}
}
