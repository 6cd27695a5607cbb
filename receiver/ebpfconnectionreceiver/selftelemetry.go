package ebpfconnectionreceiver

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// observeSelf makes what concerns the receiver itself part of the Collector's
// own metrics.
func (r *connectionReceiver) observeSelf() error {
	var err error
	r.self, err = metadata.NewTelemetryBuilder(r.settings.TelemetrySettings)
	if err != nil {
		return err
	}
	r.stats = &recentStats{engine: r.engine}
	stats := r.stats
	lanes := r.lanes()
	return errors.Join(
		r.self.RegisterWeirDatapathInterfacesCallback(observeInt(func() int64 { return int64(stats.get().Interfaces) })),
		r.self.RegisterWeirDatapathPacketsCallback(observeCauses("weir.packet.cause", func() map[string]uint64 { return stats.get().Packets })),
		r.self.RegisterWeirDatapathRunTimeCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(stats.get().ProgramRunTime.Seconds())
			return nil
		}),
		r.self.RegisterWeirFlowTableCapacityCallback(observeInt(func() int64 { return int64(stats.get().FlowCapacity) })),
		r.self.RegisterWeirFlowTableEntriesCallback(observeInt(func() int64 { return int64(stats.get().FlowEntries) })),
		r.self.RegisterWeirDatapathGenerationCallback(observeInt(func() int64 { return int64(stats.get().Generation) })),
		r.self.RegisterWeirDatapathRulesCallback(observeInt(func() int64 { return int64(stats.get().Rules) })),
		r.self.RegisterWeirInspectConnectionsCallback(observeInt(func() int64 { return int64(stats.get().Inspect.Connections) })),
		r.self.RegisterWeirInspectHeldCallback(observeInt(func() int64 { return int64(stats.get().Inspect.Held) })),
		r.self.RegisterWeirInspectOpenedCallback(observeInt(func() int64 { return int64(stats.get().Inspect.Opened) })),
		r.self.RegisterWeirInspectLimitedCallback(observeCauses("weir.inspect.cause", func() map[string]uint64 { return stats.get().Inspect.Limited })),
		r.self.RegisterWeirInspectUntakenCallback(observeCauses("weir.settlement.cause", func() map[string]uint64 { return stats.get().Inspect.Untaken })),
		r.self.RegisterWeirHoldConnectionsCallback(observeInt(func() int64 { return int64(stats.get().Hold.Connections) })),
		r.self.RegisterWeirHoldBytesCallback(observeInt(func() int64 { return int64(stats.get().Hold.Bytes) })),
		r.self.RegisterWeirHoldReleasedCallback(observeInt(func() int64 { return int64(stats.get().Hold.Released) })),
		r.self.RegisterWeirHoldTimeCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(stats.get().Hold.Waited.Seconds())
			return nil
		}),
		r.self.RegisterWeirProbeQuestionsCallback(observeCauses("weir.probe.outcome", func() map[string]uint64 { return probeOutcomes(stats.get().Probe) })),
		r.self.RegisterWeirProbeRunningCallback(observeInt(func() int64 { return int64(stats.get().Probe.Running) })),
		r.self.RegisterWeirProbeRememberedCallback(observeInt(func() int64 { return int64(stats.get().Probe.Remembered) })),
		r.self.RegisterWeirPolicyLastErrorTimeCallback(func(_ context.Context, o metric.Float64Observer) error {
			if last := r.lastPolicyError.Load(); last != 0 {
				o.Observe(float64(last) / float64(time.Second))
			}
			return nil
		}),
		r.self.RegisterWeirEventsDeliveredCallback(func(_ context.Context, o metric.Int64Observer) error {
			for _, l := range lanes {
				o.Observe(int64(l.counts().delivered), metric.WithAttributes(signal(l)))
			}
			return nil
		}),
		r.self.RegisterWeirQueueLengthCallback(func(_ context.Context, o metric.Int64Observer) error {
			for _, l := range lanes {
				o.Observe(int64(l.counts().waiting), metric.WithAttributes(signal(l)))
			}
			return nil
		}),
		r.self.RegisterWeirEventsLostCallback(func(_ context.Context, o metric.Int64Observer) error {
			for c, n := range stats.get().Lost {
				o.Observe(int64(n), metric.WithAttributes(cause(c)))
			}
			for _, l := range lanes {
				counts := l.counts()
				o.Observe(int64(counts.queueFull), metric.WithAttributes(cause("queue_full"), signal(l)))
				o.Observe(int64(counts.refused), metric.WithAttributes(cause("refused"), signal(l)))
				o.Observe(int64(counts.unsent), metric.WithAttributes(cause("shutdown"), signal(l)))
			}
			return nil
		}),
	)
}

func cause(c string) attribute.KeyValue { return attribute.String("weir.loss.cause", c) }

func signal(l *lane) attribute.KeyValue { return attribute.String("otel.signal", l.signal) }

func observeInt(value func() int64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(value())
		return nil
	}
}

// observeCauses is for what is counted by cause.
func observeCauses(key string, counts func() map[string]uint64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		for c, n := range counts() {
			o.Observe(int64(n), metric.WithAttributes(attribute.String(key, c)))
		}
		return nil
	}
}

// probeOutcomes are the questions for certificates, those among them that needed no
// probe of their own; none where nobody asks.
func probeOutcomes(s engine.ProbeStats) map[string]uint64 {
	if s.Probes == nil {
		return nil
	}
	all := maps.Clone(s.Probes)
	all["cached"], all["joined"] = s.Cached, s.Joined
	return all
}

// recentStats asks the engine at most once a second: one collection asks for
// eight numbers, and the engine asks the kernel for them.
type recentStats struct {
	engine connectionEngine

	mu    sync.Mutex
	asked time.Time
	last  engineStats
}

func (s *recentStats) get() engineStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != nil && time.Since(s.asked) > time.Second {
		s.last, s.asked = s.engine.stats(), time.Now()
	}
	return s.last
}

// freeze asks a last time: an engine that was shut down cannot be asked.
func (s *recentStats) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.engine = s.engine.stats(), nil
}
