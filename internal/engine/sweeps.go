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
// the table is so large that a pass takes long.
func (e *Engine) sweep() {
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
		timer.Reset(max(sweepInterval, sweepShare*time.Since(began)))
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
	e.versions.forget(found.OldestTables)
	return nil
}
