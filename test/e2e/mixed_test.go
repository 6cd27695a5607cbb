package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var mixedTime = flag.Duration("mixed", 8*time.Second, "how long TestMixed lasts")

// Two policies that say the same of what the clients of TestMixed do, in other ways. The
// first allows what is named, the second blocks what is named.
const (
	mixedAllows = `
mode: prevent
reject: always
on_error: {malformed: block, limit: block, overload: block, agent_down: %[1]s, not_seen: %[2]s}
rules:
  - {name: shadow, mode: detect, action: block, layer7: {http: {paths: /ok/bulk}}}
  - {name: reads, action: allow, layer4: {tcp: 8080}, layer7: {http: {paths: /ok/**}}}
  - {name: secure, action: allow, layer4: {tcp: 8443}, layer7: {tls: ok.example}}
  - {name: names, action: allow, layer4: {udp: 5300, tcp: 5300}, layer7: {dns: .ok.example}}
  - {name: no-pages, action: block, layer4: {tcp: 2525}, layer7: {http: {}}}
  - {name: mail, action: allow, layer4: {tcp: 2525}}
  - {name: open, action: allow, layer4: {tcp: 9090}}
`
	mixedBlocks = `
mode: prevent
default_action: allow
reject: always
on_error: {malformed: block, limit: block, overload: block, agent_down: %[1]s, not_seen: %[2]s}
rules:
  - {name: open, action: allow, layer4: {tcp: 9090}}
  - {name: no-pages, action: block, layer4: {tcp: 2525}, layer7: {http: {paths: "/**"}}}
  - {name: no-names, action: block, layer7: {dns: .no.example}}
  - {name: no-hello, action: block, layer4: {tcp: 8443}, layer7: {tls: .no.example}}
  - {name: no-reads, action: block, layer4: {tcp: 8080}, layer7: {http: {paths: /no/**}}}
`
)

// TestMixed: clients of every kind at once, while policies are replaced and the Collector
// is reloaded, ended and killed. Strict: nothing that is forbidden comes, ever, and what
// is allowed is cut only where docs say so. Lenient: nothing that is
// allowed is cut unless it began while the agent was away, and what is forbidden comes
// only where the agent was away meanwhile.
func TestMixed(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string][2]string{"strict": {"block", "block"}, "lenient": {"allow", "keep"}} {
		queues := map[string]int{"strict": 3, "lenient": 1}[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			policies := [2]string{fmt.Sprintf(mixedAllows, answers[0], answers[1]), fmt.Sprintf(mixedBlocks, answers[0], answers[1])}
			file := newPolicy(t, policies[0])
			w := start(t, l.a, config{policy: string(file), receiver: fmt.Sprintf("on_shutdown: keep\ninspect: {queues: %d}", queues), telemetry: metricsAt8888})
			w.partial, w.mayFail = true, true
			m := newMixed(t, l, name == "strict")
			m.disturb(t, w, file, policies)
			calm := m.calm(t, w, file, policies)
			m.end(t, w)
			m.checkTold(t, w)
			l.nothingWaits(t)
			// What was dropped while the Collector was away is sent again after ever longer
			// pauses, and a connection ends at the latest when it is idle (shortTimeouts).
			open := func() int64 { return w.metric(t, "weir.connection.active")[""] }
			for last := deadline(2*time.Minute + patience); open() > 0; time.Sleep(100 * time.Millisecond) {
				if time.Now().After(last) {
					t.Fatalf("%d connections are still open", open())
				}
			}
			w.checkFlat(t, calm)
		})
	}
}

// disturb does everything to the Collector, for two thirds of the time.
func (m *mixed) disturb(t *testing.T, w *weir, file policyFile, policies [2]string) {
	t.Helper()
	until := time.Now().Add(*mixedTime * 2 / 3)
	pause := min(*mixedTime/12, 1500*time.Millisecond)
	ways := []struct {
		name string
		do   func()
	}{
		{"kill", func() { w.kill(t); w.restart(t) }},
		{"reload", func() { w.reload(t) }},
		{"restart", func() { w.stop(t); w.restart(t) }},
	}
	for i := 0; time.Now().Before(until) || i < len(ways); i++ {
		for range 1 + rand.IntN(3) {
			time.Sleep(pause)
			file.replace(t, policies[rand.IntN(2)])
		}
		time.Sleep(time.Duration(rand.Int64N(int64(pause))))
		m.away(ways[i%len(ways)].name, ways[i%len(ways)].do)
	}
}

func (w *weir) reload(t *testing.T) {
	t.Helper()
	ready := strings.Count(w.log(), readyLine)
	w.signal(t, unix.SIGHUP)
	w.awaitReady(t, ready+1)
}

// usage is what a process takes.
type usage struct {
	memory      int64 // bytes
	descriptors int
}

func (w *weir) usage(t *testing.T) usage {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.pid()))
	if err != nil {
		t.Fatal(err)
	}
	return usage{memory(t, w.pid()), len(files)}
}

// calm goes on with policies and reloads only, in one process, of which it gives what it
// took at the beginning.
func (m *mixed) calm(t *testing.T, w *weir, file policyFile, policies [2]string) (first usage) {
	t.Helper()
	until := time.Now().Add(*mixedTime / 3)
	pause := min(*mixedTime/12, 1500*time.Millisecond)
	for i := 0; time.Now().Before(until); i++ {
		time.Sleep(pause)
		file.replace(t, policies[i%2])
		if i == 1 {
			first = w.usage(t)
		}
		if i%8 == 2 {
			m.away("reload", func() { w.reload(t) })
		}
	}
	return first
}

// checkFlat compares what the process takes, when all is over, with what it took before,
// and with what a new one does.
func (w *weir) checkFlat(t *testing.T, before usage) {
	t.Helper()
	after := w.usage(t)
	goroutines := w.goroutines(t)
	w.restart(t)
	time.Sleep(time.Second)
	fresh := w.usage(t)
	freshGoroutines := w.goroutines(t)
	t.Logf("memory: %d MB under load at first, %d MB at the end, %d MB of a new process; descriptors: %d, %d, %d; goroutines: %d, of a new process %d",
		before.memory>>20, after.memory>>20, fresh.memory>>20, before.descriptors, after.descriptors, fresh.descriptors, goroutines, freshGoroutines)
	if after.memory > before.memory*3/2+32<<20 {
		t.Errorf("memory grew from %d to %d MB", before.memory>>20, after.memory>>20)
	}
	if after.descriptors > fresh.descriptors+4 {
		t.Errorf("%d descriptors are open, of a new process %d", after.descriptors, fresh.descriptors)
	}
	if goroutines > freshGoroutines+4 {
		t.Errorf("%d goroutines run, of a new process %d", goroutines, freshGoroutines)
	}
}

// goroutines ends the Collector, which says what ran.
func (w *weir) goroutines(t *testing.T) int {
	t.Helper()
	before := len(w.log())
	w.signal(t, unix.SIGQUIT)
	w.awaitExit(t)
	return len(regexp.MustCompile(`(?m)^goroutine \d+ `).FindAllString(w.log()[before:], -1))
}

// ports of the servers.
func (m *mixed) at(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(m.lab.address(m.lab.b, ipv4, 0), port)
}

// label is a name that nothing else has.
func (m *mixed) label() string { return "n" + strconv.FormatInt(m.labels.Add(1), 10) }
