package ebpfconnectionreceiver

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/telemetry"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// collector makes metrics of the engine's counters every collection_interval,
// and once more at the end.
type collector struct {
	receiver *connectionReceiver
	engine   connectionEngine
	host     component.Host
	meter    *telemetry.Meter
	failing  bool

	ctx    context.Context
	cancel context.CancelFunc
	ending chan struct{}
	done   chan struct{}
}

func newCollector(r *connectionReceiver, host component.Host) *collector {
	ctx, cancel := context.WithCancel(context.Background())
	return &collector{
		receiver: r, engine: r.engine, host: host,
		meter: telemetry.NewMeter(r.config.Metrics.wanted(), r.config.MaxRules),
		ctx:   ctx, cancel: cancel, ending: make(chan struct{}), done: make(chan struct{}),
	}
}

func (c *collector) start() { go c.run() }

func (c *collector) run() {
	defer close(c.done)
	ticker := time.NewTicker(c.receiver.config.CollectionInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.collect()
		case <-c.ending:
			c.collect()
			return
		}
	}
}

// collect takes one snapshot. Where the pipeline refuses it nothing is lost:
// the counters are cumulative, the next snapshot has it all.
func (c *collector) collect() {
	if c.ctx.Err() != nil {
		return
	}
	totals, err := c.engine.Totals()
	c.reportState(err)
	if err != nil {
		return
	}
	metrics, slice := c.receiver.origin.NewMetrics()
	c.meter.Append(slice, &totals, &telemetry.Counted{Durations: c.receiver.durations, Exchanges: c.receiver.exchanges}, time.Now())
	points := metrics.DataPointCount()
	if points == 0 {
		return
	}
	ctx := c.receiver.report.StartMetricsOp(c.ctx)
	err = c.receiver.metrics.ConsumeMetrics(ctx, metrics)
	c.receiver.report.EndMetricsOp(ctx, metadata.Type.String(), points, err)
}

// reportState tells the Collector when the counters cannot be read, and when
// they can be again.
func (c *collector) reportState(err error) {
	switch {
	case err != nil && !c.failing:
		c.receiver.settings.Logger.Error("cannot read the counters of the datapath", zap.Error(err))
		componentstatus.ReportStatus(c.host, componentstatus.NewRecoverableErrorEvent(fmt.Errorf("read the counters of the datapath: %w", err)))
	case err == nil && c.failing:
		componentstatus.ReportStatus(c.host, componentstatus.NewEvent(componentstatus.StatusOK))
	}
	c.failing = err != nil
}

// stop collects once more, unless the pipeline is stuck for half of the time
// that is left: the engine and the events need some too.
func (c *collector) stop(ctx context.Context) {
	defer c.cancel()
	close(c.ending)
	patience := time.Second
	if deadline, ok := ctx.Deadline(); ok {
		patience = time.Until(deadline) / 2
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		c.receiver.settings.Logger.Warn("the next consumer of metrics is stuck; the last ones are lost")
	case <-ctx.Done():
	}
}
