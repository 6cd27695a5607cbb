package engine

import (
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

const (
	// What is told of exchanges waits so long, as they do not come in order, and longer
	// where the kernel's events of the time before are not read yet.
	tellAfter    = 100 * time.Millisecond
	tellInterval = 50 * time.Millisecond
)

// lookFor says which connections are to be looked into, for a policy that is in force
// now: those that rules cannot decide by the packet, and where anything is to be told
// of, or learned from DNS, all.
func (e *Engine) lookFor(v *version, now time.Time) error {
	needed := needs(v.policy)
	r := &e.config.Inspect.Report
	err := e.data.SetLook(datapath.Look{
		TCP:     r.HTTP || r.TLS || r.DNS || r.SSH || needed["names"],
		UDP:     r.TLS || r.DNS || needed["names"], // QUIC is told of as TLS is
		Pending: v.policy.NeedsFacts(),
	})
	if err != nil {
		return fmt.Errorf("look into connections: %w", err)
	}
	e.looks.setPolicy(v, needed["names"], now)
	return nil
}

// needs are the capabilities that a policy needs.
func needs(p *policy.Policy) map[string]bool {
	needed := map[string]bool{}
	for _, c := range p.Capabilities() {
		needed[c] = true
	}
	return needed
}

// lookInto looks into connections until Shutdown.
func (e *Engine) lookInto(sink Sink) {
	var running sync.WaitGroup
	running.Go(func() {
		if err := e.data.ReadCopies(e.looks.copies); err != nil {
			e.log.Error("Copies of packets cannot be read any more; nothing is found out about connections that would need them.", zap.Error(err))
		}
	})
	tell := time.NewTicker(tellInterval)
	defer tell.Stop()
	expired := time.Now()
	for ended := false; !ended; {
		select {
		case now := <-tell.C:
			if now.Sub(expired) >= time.Second {
				expired = now
				e.looks.expire(now)
				e.looks.keepNames(now)
				e.findSSHServers()
			}
			e.looks.giveUp(now)
			until := now.Add(-tellAfter)
			if read := e.data.ReadTo(); read.Before(until) {
				until = read
			}
			e.tellExchanges(until, sink)
		case <-e.stop:
			ended = true
		}
	}
	if err := e.data.StopReadingCopies(); err != nil {
		e.log.Error("The last copies of packets cannot be read.", zap.Error(err))
	}
	running.Wait()
	now := time.Now()
	e.looks.finish(now)
	e.looks.saveNames(now)
}

// tellExchanges hands over the exchanges that were complete by then.
func (e *Engine) tellExchanges(until time.Time, sink Sink) {
	e.handing.Lock()
	defer e.handing.Unlock()
	e.looks.said.hand(until, exchangesOf(sink))
}

func exchangesOf(s Sink) func([]telemetry.Exchange) {
	if s.Exchanges == nil {
		return func([]telemetry.Exchange) {}
	}
	return s.Exchanges
}
