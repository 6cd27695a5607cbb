package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func stamp(at time.Time) string { return at.UTC().Format("04:05.000000") }

// ofPort is what was told of connections from a port.
func (w *weir) ofPort(t *testing.T, port uint16) (told string) {
	t.Helper()
	for _, r := range w.records(t) {
		if r.num("source.port") == int64(port) {
			told += fmt.Sprintf("%s %s %s %s generation %s\n", stamp(r.time), r.event, r.body, r.str("weir.reason"), r.str("security_rule.version"))
		}
	}
	return told
}

// end stops the clients, and checks what failed and what came.
func (m *mixed) end(t *testing.T, w *weir) {
	t.Helper()
	close(m.stop)
	m.done.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for kind, n := range m.talks {
		if n.Load() == 0 {
			t.Errorf("%s: nothing was done", kind)
		}
	}
	cut, wrong := map[string]int{}, 0
	for _, f := range m.failed {
		if m.mayCut(&f) {
			cut[f.kind]++
			continue
		}
		if wrong++; wrong <= 10 {
			t.Errorf("%s of port %d, from %v to %v: %v; told of it:\n%v", f.kind, f.port, stamp(f.begin), stamp(f.end), f.err, w.ofPort(t, f.port))
		}
	}
	leaked := 0
	for _, f := range m.asked {
		at, is := m.came[f.label]
		if !is {
			continue
		}
		if !m.strict && m.wasAway(f.begin, at) {
			leaked++
			continue
		}
		if wrong++; wrong <= 10 {
			t.Errorf("%s (%s of port %d) is forbidden, was said between %v and %v, and came at %v; told of it:\n%v", f.label, f.kind, f.port, stamp(f.begin), stamp(f.end), stamp(at), w.ofPort(t, f.port))
		}
	}
	var done []string
	for kind, n := range m.talks {
		done = append(done, fmt.Sprintf("%s %d", kind, n.Load()))
	}
	slices.Sort(done)
	why := map[string]int{}
	for _, a := range m.aways {
		why[a.why]++
	}
	t.Logf("connections that did what they should: %s; cut when they may be: %v; %d things were said that are forbidden, of which %d came while it was away; %v; %d misjudged",
		strings.Join(done, ", "), cut, len(m.asked), leaked, why, wrong)
	if wrong > 0 && len(m.aways) < 20 {
		for _, a := range m.aways {
			t.Logf("%s from %v to %v", a.why, stamp(a.begin), stamp(a.end))
		}
	}
}

// checkTold: what was forbidden and said while the agent was there is told.
func (m *mixed) checkTold(t *testing.T, w *weir) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var told map[string]int
	untold := func() (names []string) {
		told = map[string]int{}
		for _, r := range w.records(t) {
			if r.str("weir.verdict") != "blocked" {
				continue
			}
			switch r.event {
			case "weir.http.request":
				told[strings.TrimPrefix(r.str("url.path"), "/no/")]++
			case "weir.dns.query":
				told[strings.TrimSuffix(r.str("dns.question.name"), ".no.example")]++
			case "weir.tls.handshake":
				told[strings.TrimSuffix(r.str("weir.tls.server_name"), ".no.example")]++
			}
		}
		for _, f := range m.asked {
			// A Collector that is killed takes with it what it has not written yet.
			if told[f.label] == 0 && !m.wasAway(f.begin, f.end.Add(2*time.Second)) {
				names = append(names, fmt.Sprintf("%s, said from %v to %v", f.label, stamp(f.begin), stamp(f.end)))
			}
		}
		return names
	}
	var missing []string
	for patient := time.Now().Add(patience / 3); time.Now().Before(patient); time.Sleep(200 * time.Millisecond) {
		if missing = untold(); len(missing) == 0 {
			break
		}
	}
	if len(missing) > 0 {
		t.Errorf("%d things were blocked and are not told: %q", len(missing), missing[:min(5, len(missing))])
	}
}
