package engine

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
)

// sweeps holds what the last pass over the flow table found.
type sweeps struct {
	mu   sync.Mutex
	last datapath.Sweep
}

func (s *sweeps) get() datapath.Sweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// A pass takes at most this share of one processor.
const (
	sweepInterval = time.Second
	sweepShare    = 20
)

// sweep passes over the flow table until Shutdown: every second, less often when
// the table is so large that a pass takes long. It hands over what was counted
// together, the last of it at the end.
func (e *Engine) sweep(sink Sink) {
	defer func() {
		e.looking.Wait() // what it has found out belongs into the last records
		if _, err := e.data.LastSweep(e.config.Timeouts); err != nil {
			e.log.Error("Connections that ended a moment ago are not told of.", zap.Error(err))
		}
		e.handFloods(sink)
		if err := e.data.StopReading(); err != nil {
			e.log.Error("The last events cannot be read.", zap.Error(err))
		}
	}()
	timer := time.NewTimer(sweepInterval)
	defer timer.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-timer.C:
		}
		began := time.Now()
		if err := e.sweepOnce(); err != nil {
			e.log.Error("Idle connections cannot be ended.", zap.Error(err))
		}
		e.handFloods(sink)
		timer.Reset(max(sweepInterval, sweepShare*time.Since(began)))
	}
}

func (e *Engine) handFloods(sink Sink) {
	events, err := e.data.Floods()
	if err != nil {
		e.log.Error("Connections that were counted together cannot be read.", zap.Error(err))
	}
	if len(events) > 0 {
		e.hand(events, sink)
	}
}

func (e *Engine) sweepOnce() error {
	found, err := e.data.Sweep(e.config.Timeouts, e.config.UpdateInterval)
	if err != nil {
		return err
	}
	e.sweeps.mu.Lock()
	e.sweeps.last = found
	e.sweeps.mu.Unlock()
	e.versions.forget(found.OldestTables, e.data.Held)
	return nil
}
