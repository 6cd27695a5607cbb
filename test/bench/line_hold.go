package main

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const holdAbout = "Client, server and filter are processes of their own: client and server share a processor, what judges has the others. " +
	"Weir (bin/weir) is on the server's host, in prevent mode, and holds each packet that a rule is about until it has an answer. " +
	"HAProxy is on the same host, and refuses paths; it has a connection of its own to the server for each client's, as a filter has that the server does not notice. " +
	"Both tell of each request: Weir by a record of OpenTelemetry (protobuf), HAProxy by a line; they go to /dev/null. " +
	"Client and server run at real-time priority, so that other work on the machine hardly touches them; what judges does not."

var holdFirstLine = line{
	id: "hold-first", title: "Prevention: the first request of a connection", unit: "µs",
	about: "From the request to the whole answer, of connections that have just opened; one after the other; 10 rules about paths. " + holdAbout,
	take: func(b *bench, r *result) {
		b.holds(r, 10, map[string]func([]time.Duration) float64{
			"median": func(took []time.Duration) float64 { return micro(took[len(took)/2]) },
			"p99":    func(took []time.Duration) float64 { return micro(took[len(took)*99/100]) },
		})
	},
}

var holdRequestsLine = line{
	id: "hold-requests", title: "Prevention: requests on connections that stay, each judged", unit: "requests/s",
	about: "16 connections; 200 bytes there, 1,000 back; 10 rules about paths. " + holdAbout,
	take:  func(b *bench, r *result) { b.holdRates(r, 10, (*tcpLane).requests, 1) },
}

var holdStreamLine = line{
	id: "hold-stream", title: "Prevention: the body of an upload, after the verdict", unit: "Gbit/s",
	about: "As many bytes as go through, of one request that was allowed. " + holdAbout,
	take:  func(b *bench, r *result) { b.holdRates(r, 10, (*tcpLane).stream, 8e-9) },
}

var holdConnectsLine = line{
	id: "hold-connects", title: "Prevention: connections at 1,000 rules about paths", unit: "connections/s",
	about: "8 at a time: opened, one request and its answer, closed. HAProxy has the paths as one list, which it searches as a tree. " +
		"It is there a second time, as a reverse proxy whose connections to the server serve one client after the other. " + holdAbout,
	take: func(b *bench, r *result) { b.holdRates(r, 1000, (*tcpLane).connects, 1, poolingSubject) },
}

const (
	proxySubject   = "HAProxy"
	poolingSubject = "HAProxy that pools" // one connection to the server serves many clients
)

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// filtered is a lane with what filters it.
type filtered struct {
	*tcpLane
	judge *exec.Cmd // nil: nothing filters
	end   func()
}

func (b *bench) filtered(hosts *hosts, rules int, subjects ...string) (all []*filtered, end func()) {
	dir := temporary()
	end = func() {
		for _, l := range all {
			l.close()
			l.end()
		}
		os.RemoveAll(dir)
	}
	for _, name := range append([]string{noFilter, weirSubject, proxySubject}, subjects...) {
		if strings.HasPrefix(name, proxySubject) && !b.peers["haproxy"] {
			continue
		}
		l := &filtered{tcpLane: newServedLane(hosts, name, len(all)), end: func() {}}
		all = append(all, l)
		switch name {
		case weirSubject:
			policy := filepath.Join(dir, "policy.yaml")
			must(os.WriteFile(policy, pathRules(rules), 0o600), "write the policy")
			c := startCollector(l.server, agentCPUs(), collectorConfig{binary: b.weir, dir: dir, policy: policy, maxEntries: 1 << 20})
			l.judge, l.end = c.cmd, c.close
		case proxySubject:
			l.judge, l.end = startProxy(l.tcpLane, filepath.Join(dir, "proxy"), rules, "never")
		case poolingSubject:
			l.judge, l.end = startProxy(l.tcpLane, filepath.Join(dir, "pool"), rules, "always")
		}
	}
	return all, end
}

// pathRules blocks all but one of so many sets of paths.
func pathRules(n int) []byte {
	var b strings.Builder
	b.WriteString("mode: prevent\nrules:\n")
	for i := range n - 1 {
		fmt.Fprintf(&b, "  - {name: no-%d, action: block, layer4: {tcp: 5001}, layer7: {http: {paths: /no/%d/**}}}\n", i, i)
	}
	b.WriteString("  - {name: pages, action: allow, layer4: {tcp: 5001}, layer7: {http: {paths: [/page, /up]}}}\n")
	return []byte(b.String())
}

// startProxy puts HAProxy where the lane's clients connect, before the server, with the
// same rules. reuse says whether a connection to the server serves several clients.
func startProxy(l *tcpLane, dir string, rules int, reuse string) (*exec.Cmd, func()) {
	must(os.Mkdir(dir, 0o700), "make the proxy's folder")
	var no strings.Builder
	for i := range rules - 1 {
		fmt.Fprintf(&no, "/no/%d/\n", i)
	}
	list, config := filepath.Join(dir, "paths"), filepath.Join(dir, "haproxy.cfg")
	must(os.WriteFile(list, []byte(no.String()), 0o600), "write the proxy's list")
	address, _, _ := net.SplitHostPort(l.at)
	front := net.JoinHostPort(address, "5002")
	must(os.WriteFile(config, fmt.Appendf(nil, `
global
  nbthread %d
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 10s
  timeout client 1m
  timeout server 1m
  option splice-auto
frontend all
  bind %s
  http-request deny if { path_beg -f %s }
  http-request deny unless { path /page /up }
  default_backend server
backend server
  http-reuse %s
  server one %s
`, len(agentCPUs()), front, list, reuse, l.at), 0o600), "write the proxy's configuration")
	cmd := exec.Command("haproxy", "-db", "-f", config)
	cmd.Stderr = os.Stderr
	startOn(l.server, agentCPUs(), cmd)
	l.at = front
	for range 100 {
		time.Sleep(20 * time.Millisecond)
		var err error
		l.client.run(func() {
			var c net.Conn
			if c, err = net.Dial("tcp4", front); err == nil {
				c.Close()
			}
		})
		if err == nil {
			break
		}
	}
	return cmd, func() { cmd.Process.Kill(); cmd.Wait() }
}

// holds measures the first requests of connections; parts are what is made of how long
// they took.
func (b *bench) holds(r *result, rules int, parts map[string]func([]time.Duration) float64) {
	var hosts hosts
	defer hosts.close()
	all, end := b.filtered(&hosts, rules)
	defer end()
	found := map[string]map[string][]float64{}
	var samples []func()
	for _, l := range all {
		found[l.name] = map[string][]float64{}
		l.firsts(200)
		samples = append(samples, func() {
			urgently(func() {
				took := l.firsts(b.pick(500, 2000))
				for kind, of := range parts {
					found[l.name][kind] = append(found[l.name][kind], of(took))
				}
			})
		})
	}
	b.interleave(2*b.rounds(), samples...)
	for _, kind := range slices.Sorted(maps.Keys(parts)) {
		for _, l := range all {
			r.Series = append(r.Series, series{Subject: l.name, Kind: kind, Baseline: baselineOf(l.name), Samples: found[l.name][kind]})
		}
	}
}

func baselineOf(name string) string {
	if name == noFilter {
		return ""
	}
	return noFilter
}

// firsts is how long first requests took, in order of that.
func (l *filtered) firsts(n int) (took []time.Duration) {
	buffer := make([]byte, answerSize)
	for range n {
		c := l.dial(asksAnswers)
		began := time.Now()
		l.ask(c, buffer)
		took = append(took, time.Since(began))
		c.Close()
	}
	slices.Sort(took)
	return took
}

// holdRates compares rates.
func (b *bench) holdRates(r *result, rules int, take func(*tcpLane, time.Duration) float64, scale float64, subjects ...string) {
	var hosts hosts
	defer hosts.close()
	all, end := b.filtered(&hosts, rules, subjects...)
	defer end()
	duration := time.Duration(b.pick(300, 1000)) * time.Millisecond
	var samples []func()
	for _, l := range all {
		take(l.tcpLane, duration/4)
		samples = append(samples, func() {
			urgently(func() { l.samples = append(l.samples, take(l.tcpLane, duration)*scale) })
		})
	}
	before := make([]time.Duration, len(all))
	for i, l := range all {
		before[i] = l.judgeTime()
	}
	began := time.Now()
	b.interleave(2*b.rounds(), samples...)
	took := time.Since(began).Seconds() / float64(len(all))
	for i, l := range all {
		r.Series = append(r.Series, series{Subject: l.name, Baseline: baselineOf(l.name), Samples: l.samples})
		if l.judge != nil {
			r.fact(l.name+": share of a processor while it was its turn", 100*(l.judgeTime()-before[i]).Seconds()/took, "%")
		}
	}
}

func (l *filtered) judgeTime() time.Duration {
	if l.judge == nil {
		return 0
	}
	return cpuTime(l.judge.Process.Pid)
}

// Pages is the server of a lane, in a process of its own.
type Pages struct{ received atomic.Pointer[tcpLane] }

// Serve listens at an address.
func (p *Pages) Serve(at string, _ *struct{}) error {
	l := &tcpLane{}
	var err error
	if l.listener, err = net.Listen("tcp4", at); err != nil {
		return err
	}
	p.received.Store(l)
	go l.serve()
	return nil
}

// Received is how many bytes of streams came.
func (p *Pages) Received(_ struct{}, n *int64) error {
	*n = p.received.Load().received.Load()
	return nil
}

// newServedLane is a lane of HTTP whose server is another process.
func newServedLane(all *hosts, name string, number int) *tcpLane {
	l := connectedLane(all, name, number)
	l.http = true
	l.process = startProcess(l.server, []int{trafficCPU()})
	must(l.process.client.Call("Pages.Serve", l.at, &struct{}{}), "serve pages")
	setPolicyOf(l.process.cmd.Process.Pid, unix.SCHED_RR, 10)
	return l
}
