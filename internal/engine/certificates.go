package engine

import (
	"time"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/probe"
	"github.com/weirnet/weir/internal/telemetry"
)

// ProbeStats are what became of questions for certificates.
type ProbeStats = probe.Stats

// newProber makes what answers the inspector's questions; nil where that is off.
func newProber(c *InspectConfig, data *datapath.Datapath) *probe.Prober {
	if !c.CertificateProbe {
		return nil
	}
	return probe.New(probe.Config{Timeout: c.MaxWait, Own: data.OwnSocket})
}

// ask has the inspector's questions answered. What follows from those that are already
// is among what it has found.
func (l *look) ask() {
	for _, q := range l.inspector.Questions() {
		a, now := l.prober.Ask(&probe.Question{Server: q.Server, Source: q.Source, Device: q.Interface}, func(a probe.Answer) {
			l.answered(q.ID, &a)
		})
		if now {
			l.inspector.Certificate(q.ID, certificateOf(&a), time.Now())
		}
	}
}

// answered takes the answer to a question, for which packets wait.
func (l *look) answered(id uint64, a *probe.Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inspector.Certificate(id, certificateOf(a), time.Now())
	l.take()
	if k := l.seen[id]; k != nil {
		l.release(k) // a ClientHello may pass, though there is no verdict yet
	}
}

func certificateOf(a *probe.Answer) *inspector.Certificate {
	c := &inspector.Certificate{Fact: a.Fact()}
	if a.Shown == nil {
		return c
	}
	c.Leaf, c.Source = a.Shown.Leaf, telemetry.CertificateFromProbe
	if a.Cached {
		c.Source = telemetry.CertificateFromCache
	}
	return c
}

// stopAsking ends what is under way.
func (l *looks) stopAsking() {
	if l.prober != nil {
		l.prober.Close()
	}
}

func (l *looks) probeStats() ProbeStats {
	if l.prober == nil {
		return ProbeStats{}
	}
	return l.prober.Stats()
}
