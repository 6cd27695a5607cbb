package e2e

import (
	"crypto/tls"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// mixed are clients of every kind, and their servers.
type mixed struct {
	lab    *lab
	strict bool
	labels atomic.Int64
	stop   chan struct{}
	done   sync.WaitGroup
	talks  map[string]*atomic.Int64 // what was done, by kind

	mu     sync.Mutex
	aways  []away
	failed []failure
	asked  []saying // what is forbidden and was said
	came   map[string]time.Time
}

// away is when the agent was away, or a new one came: from the signal until a moment
// after it was ready.
type away struct {
	why        string
	begin, end time.Time
}

// settling is how long after it is ready an agent counts as away: it may answer late, and
// a packet that was dropped is sent again.
const settling = time.Second

// failure is something allowed that failed, in a connection that was opened at a time.
type failure struct {
	*talker
	end time.Time
	err error
}

// saying is something that was said and must not come.
type saying struct {
	*talker
	label string
	end   time.Time
}

func newMixed(t *testing.T, l *lab, strict bool) *mixed {
	t.Helper()
	m := &mixed{lab: l, strict: strict, stop: make(chan struct{}), came: map[string]time.Time{}, talks: map[string]*atomic.Int64{}}
	m.serve(t)
	for kind, c := range map[string]struct {
		clients int
		pause   time.Duration
		talk    func(*mixed, *talker) error
	}{
		"keep-alive":   {4, 50 * time.Millisecond, talkKeepAlive},
		"pipelined":    {2, 100 * time.Millisecond, talkPipelined},
		"bulk":         {1, 500 * time.Millisecond, talkBulk},
		"TLS":          {3, 50 * time.Millisecond, talkTLS},
		"names":        {3, 30 * time.Millisecond, talkNames},
		"server first": {3, 50 * time.Millisecond, talkMail},
		"open":         {4, 20 * time.Millisecond, talkOpen},
	} {
		count := &atomic.Int64{}
		m.talks[kind] = count
		for range c.clients {
			m.done.Go(func() {
				for !m.isOver() {
					k := &talker{m: m, kind: kind, begin: time.Now()}
					err := c.talk(m, k)
					k.close()
					if err != nil {
						m.mu.Lock()
						m.failed = append(m.failed, failure{k, time.Now(), err})
						m.mu.Unlock()
					} else {
						count.Add(1)
					}
					time.Sleep(c.pause)
				}
			})
		}
	}
	return m
}

func (m *mixed) isOver() bool {
	select {
	case <-m.stop:
		return true
	default:
		return false
	}
}

// away does something to the Collector.
func (m *mixed) away(why string, do func()) {
	m.mu.Lock()
	m.aways = append(m.aways, away{why: why, begin: time.Now(), end: time.Now().Add(time.Hour)})
	m.mu.Unlock()
	do()
	m.mu.Lock()
	m.aways[len(m.aways)-1].end = time.Now().Add(settling)
	m.mu.Unlock()
}

// wasAway says whether the agent was away in some of that time.
func (m *mixed) wasAway(begin, end time.Time) bool {
	return slices.ContainsFunc(m.aways, func(a away) bool { return a.begin.Before(end) && begin.Before(a.end) })
}

// mayCut says whether something that is allowed may have been cut. What the policies
// decide by ports alone goes on whatever becomes of the agent.
func (m *mixed) mayCut(f *failure) bool {
	if !m.strict {
		// A hello of several segments that was lost with the agent comes again one by one, of
		// which the second waits for the first (docs/prevention.md).
		// And what is to end for a request that is blocked ends without its answers where the
		// agent does.
		return (f.kind == "TLS" || f.kind == "pipelined") && m.wasAway(f.begin, f.begin.Add(100*time.Millisecond))
	}
	return f.kind != "open" && m.wasAway(f.begin, f.end)
}

// serve starts the servers. They note each thing that is forbidden and came.
func (m *mixed) serve(t *testing.T) {
	t.Helper()
	note := func(label string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if _, before := m.came[label]; !before {
			m.came[label] = time.Now()
		}
	}
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if label, is := strings.CutPrefix(r.URL.Path, "/no/"); is {
			note(label)
		}
		if r.URL.Path == "/ok/bulk" {
			http.NewResponseController(w).EnableFullDuplex()
			io.Copy(w, r.Body)
			return
		}
		io.WriteString(w, r.URL.Path)
	})
	m.lab.b.serve(t, m.at(8080), nil, pages)
	secure := &tls.Config{Certificates: []tls.Certificate{newCertificate(t, "ok.example")}}
	secure.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if label, is := strings.CutSuffix(hello.ServerName, ".no.example"); is {
			note(label)
		}
		return nil, nil
	}
	m.lab.b.echoTCP(t, m.at(8443), secure)
	m.lab.b.echoTCP(t, m.at(9090), nil)
	m.lab.b.answerNames(t, m.at(5300), func(name string) {
		if label, is := strings.CutSuffix(name, ".no.example."); is {
			note(label)
		}
	})
	m.lab.b.serveMail(t, m.at(2525), note)
}
