package ebpfconnectionreceiver

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	ossignal "os/signal"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/internal/telemetry"
)

// replayEngine is the engine that replays a capture file, with its statistics in
// the receiver's words.
type replayEngine struct{ *engine.Replay }

// LastGeneration is 0: a capture begins anew.
func (e replayEngine) LastGeneration() uint64 { return 0 }

// Connections is not for a replay: its connections are in a table that goes on
// changing at full speed.
func (e replayEngine) Connections(func(*telemetry.Connection) bool) error {
	return errors.New("a capture is replayed: it has no live connections")
}

// Blocked is not asked of a replay: each one counts anew.
func (e replayEngine) Blocked() (since time.Time, n uint64, err error) {
	return since, 0, errors.New("a replay has no counters that outlive it")
}

func (e replayEngine) stats() engineStats { return engineStats(e.Stats()) }

// openReplay makes the engine that replays config.CaptureFile.
func (r *connectionReceiver) openReplay(config *Config, inspect engine.InspectConfig, changed func(telemetry.PolicyChange), logger *zap.Logger) (connectionEngine, error) {
	timeouts := config.FlowTable.Timeouts
	addresses, err := config.captureAddresses()
	if err != nil {
		return nil, err
	}
	e, err := engine.NewReplay(engine.ReplayConfig{
		Path:       config.CaptureFile,
		Host:       addresses,
		MaxEntries: config.FlowTable.MaxEntries,
		Timeouts: engine.Timeouts{
			TCP: timeouts.TCP, TCPClosing: timeouts.TCPClosing, UDP: timeouts.UDP, ICMP: timeouts.ICMP,
		},
		UpdateInterval: config.UpdateInterval,
		Inspect:        inspect,
		OnChange:       changed,
		OnEnd:          r.captureEnded,
	}, logger)
	if err != nil {
		return nil, err
	}
	return replayEngine{e}, nil
}

// captureAddresses reads Config.CaptureAddresses.
func (c *Config) captureAddresses() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for i, text := range c.CaptureAddresses {
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			all = append(all, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("capture_addresses::%d: %q is not accepted: want an address or a prefix, as 192.0.2.1 or 2001:db8::/64", i, text)
		}
		all = append(all, p)
	}
	return all, nil
}

// captureEnd is what follows the end of a capture.
type captureEnd struct {
	host component.Host
	// stopCollector asks the Collector, of which this process is one, to end.
	stopCollector func() error
	quit          chan struct{} // closed by Shutdown
	once          sync.Once
	waiting       sync.WaitGroup
}

func newCaptureEnd() *captureEnd {
	e := &captureEnd{quit: make(chan struct{})}
	e.stopCollector = e.interruptSelf
	return e
}

// interruptSelf sends what the Collector takes for the wish to end, until it ends. The
// Collector takes signals a moment after its components have started, and a small capture
// is through before: nobody would hear of the first one then, and it would kill the process
// with what exporters have not written yet, were it not asked for here, too.
func (e *captureEnd) interruptSelf() error {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	ossignal.Notify(make(chan os.Signal, 1), syscall.SIGTERM)
	for {
		if err := self.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		select {
		case <-e.quit:
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends what waits; it may be called again.
func (e *captureEnd) stop() {
	e.once.Do(func() { close(e.quit) })
	e.waiting.Wait()
}

// captureEnded is told by the replay when it has handed over its last record. The
// Collector goes on, unless it was asked to end with the capture.
func (r *connectionReceiver) captureEnded(err error) {
	end := r.captureEnd
	if err != nil && !r.config.CaptureStop {
		componentstatus.ReportStatus(end.host, componentstatus.NewPermanentErrorEvent(err))
	}
	if !r.config.CaptureStop {
		return
	}
	end.waiting.Go(func() {
		if !r.waitDelivered(end.quit) {
			return
		}
		if err != nil {
			componentstatus.ReportStatus(end.host, componentstatus.NewFatalErrorEvent(err))
			return
		}
		if err := end.stopCollector(); err != nil {
			componentstatus.ReportStatus(end.host, componentstatus.NewFatalErrorEvent(fmt.Errorf("end with the capture: %w", err)))
		}
	})
}

// waitDelivered waits until nothing is on its way to a pipeline; false where quit
// comes first.
func (r *connectionReceiver) waitDelivered(quit <-chan struct{}) bool {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		delivered := true
		for _, l := range r.lanes() {
			delivered = delivered && l.isEmpty()
		}
		if delivered {
			return true
		}
		select {
		case <-ticker.C:
		case <-quit:
			return false
		}
	}
}
