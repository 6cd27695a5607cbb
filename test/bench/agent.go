package main

import (
	"context"
	"errors"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// agentCommand runs this program as the agent under test: the engine with the
// datapath, as the receiver has them, without a Collector. One watches a network
// namespace, so each lane has a process of its own, which the bench directs by
// calls over its standard input and output.
const agentCommand = "agent"

// Agent is what can be called.
type Agent struct {
	engine *engine.Engine
	mu     sync.Mutex
	told   Told
}

// Told counts the connections that records stand for.
type Told struct {
	Starts, Ends uint64
	Records      uint64
	Exchanges    uint64 // what was said inside of connections
}

// Opening is how an agent is opened.
type Opening struct {
	Interfaces []string
	MaxEntries uint32
	Policy     []byte
	XDP        engine.XDP
	// Look: what is said inside of connections is told of.
	Look bool
}

// Applied is how long a policy took.
type Applied struct{ Read, InForce time.Duration }

// Watched is what an agent knows of its traffic.
type Watched struct {
	Told    Told
	Packets map[string]uint64 // by verdict
	Lost    map[string]uint64
	Kernel  map[string]uint64
	Entries uint64
}

func serveAgent() {
	server := rpc.NewServer()
	if err := errors.Join(server.Register(&Agent{}), server.Register(&Echo{}), server.Register(&Pages{})); err != nil {
		panic(err) // the methods are of the wrong form
	}
	server.ServeConn(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout})
}

// Open starts the engine with a policy.
func (a *Agent) Open(o Opening, took *Applied) error {
	log, err := zap.NewProduction(zap.IncreaseLevel(zap.ErrorLevel))
	if err != nil {
		return err
	}
	a.engine, err = engine.New(engine.Config{
		Include: o.Interfaces, XDP: o.XDP, MaxEntries: o.MaxEntries, Keep: engine.KeepNever,
		Timeouts: engine.Timeouts{TCP: 120 * time.Hour, TCPClosing: 2 * time.Minute, UDP: time.Minute, ICMP: 10 * time.Second},
		Inspect:  engine.InspectConfig{Report: engine.Report{HTTP: o.Look, TLS: o.Look, DNS: o.Look, SSH: o.Look}},
	}, log)
	if err != nil {
		return err
	}
	if err := a.Apply(o.Policy, took); err != nil {
		return err
	}
	return a.engine.Start(engine.Sink{Connections: a.sink, Exchanges: a.exchanges})
}

func (a *Agent) exchanges(records []telemetry.Exchange) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told.Exchanges += uint64(len(records))
}

func (a *Agent) sink(records []telemetry.Connection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range records {
		a.told.Records++
		switch records[i].Kind {
		case telemetry.ConnectionStart:
			a.told.Starts += records[i].Count
		case telemetry.ConnectionEnd:
			a.told.Ends += records[i].Count
		}
	}
}

// Apply puts a policy in force, from its text on.
func (a *Agent) Apply(text []byte, took *Applied) error {
	began := time.Now()
	p, _, err := policy.Load(policy.Document{Name: "policy.yaml", Content: text})
	if err != nil {
		return err
	}
	took.Read = time.Since(began)
	err = a.engine.Apply(uint64(began.UnixNano()), p, nil)
	took.InForce = time.Since(began)
	return err
}

// Watch gives the counters.
func (a *Agent) Watch(_ struct{}, w *Watched) error {
	totals, err := a.engine.Totals()
	if err != nil {
		return err
	}
	w.Packets = map[string]uint64{}
	for _, t := range totals.Traffic {
		w.Packets[verdictNames[t.Verdict]] += t.Counts.Packets
	}
	stats := a.engine.Stats()
	w.Lost, w.Kernel, w.Entries = stats.Lost, stats.Packets, stats.FlowEntries
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Told = a.told
	return nil
}

var verdictNames = map[telemetry.Verdict]string{
	telemetry.Pending: "pending", telemetry.Detected: "detected", telemetry.Allowed: "allowed", telemetry.Blocked: "blocked",
}

// Close unloads.
func (a *Agent) Close(struct{}, *struct{}) error {
	if a.engine == nil {
		return nil
	}
	return a.engine.Shutdown(context.Background())
}

// agent is the bench's end of one.
type agent struct {
	cmd    *exec.Cmd
	client *rpc.Client
}

// startAgent runs an agent on a host, on the given processors.
func startAgent(h *host, cpus []int, o Opening) (*agent, Applied) {
	a := startProcess(h, cpus)
	var took Applied
	if err := a.client.Call("Agent.Open", o, &took); err != nil {
		a.kill()
		must(err, "open the agent")
	}
	return a, took
}

// startOn starts a program in a host's namespace, on the given processors. It ends
// with this one.
func startOn(h *host, cpus []int, cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	h.do(func() {
		must(unix.SchedSetaffinity(0, cpuSet(cpus...)), "choose processors")
		defer unix.SchedSetaffinity(0, cpuSet(trafficCPU()))
		must(cmd.Start(), "start %s", cmd.Path)
	})
}

func (a *agent) apply(text []byte) (took Applied) {
	must(a.client.Call("Agent.Apply", text, &took), "put a policy in force")
	return took
}

func (a *agent) watch() (w Watched) {
	must(a.client.Call("Agent.Watch", struct{}{}, &w), "read the agent's counters")
	return w
}

func (a *agent) close() {
	a.client.Call("Agent.Close", struct{}{}, &struct{}{}) // it ends in any case
	a.kill()
}

func (a *agent) kill() {
	if a.client != nil {
		a.client.Close()
	}
	a.cmd.Process.Kill()
	a.cmd.Wait()
}
