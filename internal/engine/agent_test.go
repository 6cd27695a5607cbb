package engine

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// The agent is another process, which can be killed.

const agentMarker = "WEIR_TEST_AGENT"

// runAgent puts the policies in force that it is told, the first before it watches, until
// it is told no more.
func runAgent() {
	e, err := New(roadConfig(), zap.NewNop())
	generation := e.LastGeneration()
	started := false
	for in := json.NewDecoder(os.Stdin); err == nil; {
		var text string
		if in.Decode(&text) != nil {
			os.Exit(0)
		}
		var p *policy.Policy
		if p, _, err = policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(text)}); err != nil {
			break
		}
		generation++
		if err = e.Apply(generation, p, nil); err == nil && !started {
			started, err = true, e.Start(Sink{Connections: func([]telemetry.Connection) {}})
		}
		if err == nil {
			fmt.Println("in force")
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// agent is such a process.
type agent struct {
	process *exec.Cmd
	in      *json.Encoder
	out     *bufio.Scanner
}

// startAgent starts one with a policy, and does not wait for it.
func startAgent(t *testing.T, text string) *agent {
	t.Helper()
	a := &agent{process: exec.Command("/proc/self/exe")}
	a.process.Env = append(os.Environ(), agentMarker+"=1")
	a.process.Stderr = os.Stderr
	in, err := a.process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := a.process.StdoutPipe()
	if err == nil {
		err = a.process.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	a.in, a.out = json.NewEncoder(in), bufio.NewScanner(out)
	t.Cleanup(a.kill)
	a.tell(text)
	return a
}

// tell tells it a policy. Whether it has it is for inForce to say.
func (a *agent) tell(text string) { a.in.Encode(text) }

// inForce waits until what it was told is.
func (a *agent) inForce(t *testing.T) {
	t.Helper()
	if !a.out.Scan() {
		t.Fatal("the agent has ended")
	}
}

// apply puts a policy in force.
func (a *agent) apply(t *testing.T, text string) {
	t.Helper()
	a.tell(text)
	a.inForce(t)
}

// kill ends it at once, and may be called again.
func (a *agent) kill() {
	a.process.Process.Kill()
	a.process.Wait()
}
