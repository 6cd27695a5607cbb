package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Echo keeps TCP connections that carry data, in a process of its own: the bench's
// is on the processor that a flood has for itself.
type Echo struct {
	stop    chan struct{}
	running sync.WaitGroup
	mu      sync.Mutex
	found   Echoed
}

// Echoing is what to keep up.
type Echoing struct {
	Connections int
	// Server is the path of the server's network namespace; the client is in the
	// process's own.
	Server, At string
	Interval   time.Duration
}

// Echoed is what became of it.
type Echoed struct {
	Echoes  uint64
	Longest time.Duration // that one was waited for
	Broken  int
	Error   string // of the first that broke
}

// Start opens the connections; each sends now and then, and waits for what it sent.
func (e *Echo) Start(o Echoing, _ *struct{}) error {
	listener, err := listenIn(o.Server, o.At)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	e.stop = make(chan struct{})
	for i := range o.Connections {
		c, err := net.DialTimeout("tcp4", o.At, 10*time.Second)
		if err != nil {
			return fmt.Errorf("open connection %d: %w", i, err)
		}
		e.running.Add(1)
		go func() {
			defer e.running.Done()
			defer c.Close()
			time.Sleep(o.Interval * time.Duration(i) / time.Duration(o.Connections))
			e.keep(c, o.Interval)
		}()
	}
	return nil
}

func listenIn(namespace, at string) (l net.Listener, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread ends with the goroutine
		var f *os.File
		if f, err = os.Open(namespace); err != nil {
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		l, err = net.Listen("tcp4", at)
	}()
	<-done
	return l, err
}

func (e *Echo) keep(c net.Conn, interval time.Duration) {
	buffer := make([]byte, 100)
	for {
		select {
		case <-e.stop:
			return
		case <-time.After(interval):
		}
		began := time.Now()
		c.SetDeadline(began.Add(30 * time.Second))
		_, err := c.Write(buffer)
		if err == nil {
			_, err = io.ReadFull(c, buffer)
		}
		took := time.Since(began)
		e.mu.Lock()
		e.found.Echoes++
		e.found.Longest = max(e.found.Longest, took)
		if err != nil {
			e.found.Broken++
			if e.found.Error == "" {
				e.found.Error = err.Error()
			}
		}
		e.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Look gives what was found since the last look.
func (e *Echo) Look(_ struct{}, found *Echoed) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	*found, e.found = e.found, Echoed{Broken: e.found.Broken, Error: e.found.Error}
	return nil
}

// Stop closes the connections.
func (e *Echo) Stop(struct{}, *struct{}) error {
	if e.stop == nil {
		return errors.New("not started")
	}
	close(e.stop)
	e.running.Wait()
	return nil
}

// startProcess runs this program as one that is called, on a host.
func startProcess(h *host, cpus []int) *agent {
	a := &agent{cmd: exec.Command("/proc/self/exe", agentCommand)}
	in, err := a.cmd.StdinPipe()
	must(err, "make a pipe")
	out, err := a.cmd.StdoutPipe()
	must(err, "make a pipe")
	a.cmd.Stderr = os.Stderr
	startOn(h, cpus, a.cmd)
	a.client = rpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	return a
}
