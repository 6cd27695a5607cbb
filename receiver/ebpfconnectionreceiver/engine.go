package ebpfconnectionreceiver

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/sshlog"
	"github.com/weirnet/weir/internal/sshlog/journal"
	"github.com/weirnet/weir/internal/telemetry"
)

// connectionEngine is what the receiver uses of *engine.Engine. The tests have
// one that needs no privilege.
type connectionEngine interface {
	// Start attaches the programs and hands what they tell to sink.
	Start(sink engine.Sink) error
	// Apply puts a policy in force; nil is detect mode without rules.
	Apply(number uint64, p *policy.Policy, back *engine.Return) error
	// LastGeneration is the number of an earlier process's last policy; 0 where
	// there was none.
	LastGeneration() uint64
	// Totals takes a snapshot of the counters.
	Totals() (telemetry.Totals, error)
	// Connections hands over the live connections until visit says false. A replay
	// has none.
	Connections(visit func(*telemetry.Connection) bool) error
	// Blocked is the number of connections that were blocked, or would be, and since
	// when it counts. A replay does not have it.
	Blocked() (since time.Time, n uint64, err error)
	stats() engineStats
	Shutdown(ctx context.Context) error
}

// engineStats is what the engine tells of itself.
type engineStats struct {
	// Lost counts records that never came to the sink, by cause.
	Lost map[string]uint64
	// Packets counts packets apart from those of connections, by cause.
	Packets map[string]uint64
	// FlowEntries and FlowCapacity are connections in the flow table.
	FlowEntries, FlowCapacity uint64
	// ProgramRunTime is what the kernel measured; 0 unless it was told to.
	ProgramRunTime time.Duration
	Interfaces     int
	Generation     uint64
	Rules          int
	Inspect        engine.InspectStats
	Hold           engine.HoldStats
	Probe          engine.ProbeStats
}

// openEngine makes the engine; a variable of this type lets tests have another.
type openEngine func(config *Config, inspect engine.InspectConfig, changed func(telemetry.PolicyChange), logger *zap.Logger) (connectionEngine, error)

// openKernelEngine makes the engine that watches the kernel.
func openKernelEngine(config *Config, inspect engine.InspectConfig, changed func(telemetry.PolicyChange), logger *zap.Logger) (connectionEngine, error) {
	e, err := engine.New(engineConfig(config, inspect, changed), logger)
	if err != nil {
		return nil, fmt.Errorf("open the datapath: %w", err)
	}
	return kernelEngine{e}, nil
}

func engineConfig(config *Config, inspect engine.InspectConfig, changed func(telemetry.PolicyChange)) engine.Config {
	keep := engine.KeepAuto
	switch config.OnShutdown {
	case onShutdownKeep:
		keep = engine.KeepAlways
	case onShutdownUnload:
		keep = engine.KeepNever
	}
	timeouts := config.FlowTable.Timeouts
	return engine.Config{
		Include:    config.Interfaces.Include,
		Exclude:    config.Interfaces.Exclude,
		XDP:        xdpModes[config.XDP],
		MaxEntries: config.FlowTable.MaxEntries,
		Timeouts: engine.Timeouts{
			TCP: timeouts.TCP, TCPClosing: timeouts.TCPClosing, UDP: timeouts.UDP, ICMP: timeouts.ICMP,
		},
		UpdateInterval: config.UpdateInterval,
		Keep:           keep,
		Inspect:        inspect,
		FollowJournal:  followJournal,
		OnChange:       changed,
	}
}

func followJournal(servers []string, take func(sshlog.Entry), log *zap.Logger) (stop func() error, err error) {
	j, err := journal.Follow("journalctl", servers, take, log)
	if err != nil {
		return nil, err
	}
	return j.Stop, nil
}

// kernelEngine is the engine with its statistics in the receiver's words.
type kernelEngine struct{ *engine.Engine }

func (e kernelEngine) stats() engineStats {
	s := e.Stats()
	return engineStats{
		Lost:           s.Lost,
		Packets:        s.Packets,
		FlowEntries:    s.FlowEntries,
		FlowCapacity:   s.FlowCapacity,
		ProgramRunTime: s.ProgramRunTime,
		Interfaces:     s.Interfaces,
		Generation:     s.Generation,
		Rules:          s.Rules,
		Inspect:        s.Inspect,
		Hold:           s.Hold,
		Probe:          s.Probe,
	}
}
