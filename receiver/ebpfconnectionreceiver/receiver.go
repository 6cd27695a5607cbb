package ebpfconnectionreceiver

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/weirnet/weir/extension/connectionapiextension"
	"github.com/weirnet/weir/extension/connectionpolicyextension"
	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/internal/systemd"
	"github.com/weirnet/weir/internal/telemetry"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// drainTime is how long Shutdown waits for the next consumers where its context
// has no deadline, which is the rule: a stuck exporter must not keep the
// Collector from ending.
const drainTime = 10 * time.Second

// connectionReceiver joins the engine, the policy and the pipelines.
type connectionReceiver struct {
	config   *Config
	settings receiver.Settings
	open     openEngine
	drain    time.Duration

	// The next consumers; nil for a signal that is in no pipeline.
	logs    consumer.Logs
	metrics consumer.Metrics
	traces  consumer.Traces

	origin   telemetry.Origin
	report   *receiverhelper.ObsReport
	engine   connectionEngine
	unfollow func() // ends the subscription to the policy
	// events takes what the engine tells before the pipelines do; nil without a
	// policy.
	events connectionpolicyextension.EventSink
	// apis take the same, and every change of the policy; detach takes the engine
	// from them.
	apis      []connectionapiextension.Attachable
	detach    []func()
	accounts  *accounts
	logLane   *lane
	traceLane *lane
	// durations and exchanges are nil where no metric is made of them.
	durations *telemetry.Durations
	exchanges *telemetry.Exchanges
	// captureEnd is nil without a capture.
	captureEnd *captureEnd
	collector  *collector
	self       *metadata.TelemetryBuilder
	stats      *recentStats
	// lastPolicyError is when a policy was last refused, in nanoseconds since
	// 1970; 0 if none was.
	lastPolicyError atomic.Int64
}

func newReceiver(config *Config, settings receiver.Settings) *connectionReceiver {
	r := &connectionReceiver{config: config, settings: settings, open: openKernelEngine, drain: drainTime}
	if config.CaptureFile != "" {
		r.open = r.openReplay
		r.captureEnd = newCaptureEnd()
	}
	return r
}

// Start puts the policy in force and begins to watch.
func (r *connectionReceiver) Start(_ context.Context, host component.Host) error {
	if err := r.start(host); err != nil {
		// A component that did not start may not be stopped.
		return errors.Join(err, r.Shutdown(context.Background()))
	}
	return nil
}

func (r *connectionReceiver) start(host component.Host) error {
	var err error
	transport := "ebpf"
	if r.captureEnd != nil {
		transport, r.captureEnd.host = "file", host
	}
	r.report, err = receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID: r.settings.ID, Transport: transport, ReceiverCreateSettings: r.settings,
	})
	if err != nil {
		return err
	}
	r.origin = newOrigin(r.config.ResourceAttributes, r.settings)
	r.openLanes()

	r.engine, err = r.open(r.config, r.inspectConfig(), r.engineChangedPolicy, r.settings.Logger)
	if err != nil {
		return err
	}
	if err := r.observeSelf(); err != nil {
		return err
	}
	r.attach(host)
	// The policy before the programs: from the first packet on, prevent
	// prevents.
	if err := r.followPolicy(host); err != nil {
		return err
	}
	r.openAccounts()
	if err := r.engine.Start(engine.Sink{Connections: r.takeConnections, Exchanges: r.takeExchanges}); err != nil {
		return fmt.Errorf("start the datapath: %w", err)
	}
	// Of the Collector's parts only this one knows when the hooks are taken, which
	// is what a boot waits for.
	if r.captureEnd == nil {
		if err := systemd.Ready(); err != nil {
			r.settings.Logger.Warn("The service manager could not be told.", zap.Error(err))
		}
	}
	if r.metrics != nil && passes(r.config.ResourceAttributes, r.origin.Resource, forMetrics) {
		r.collector = newCollector(r, host)
		r.collector.start()
	}
	return nil
}

func (r *connectionReceiver) openLanes() {
	patient := r.captureEnd != nil
	if r.logs != nil && passes(r.config.ResourceAttributes, r.origin.Resource, forEvents) {
		r.logLane = newLane("logs", r.config.QueueSize, patient, wantedEvents(&r.config.Events), r.sendLogs)
		r.logLane.start()
	}
	if r.traces != nil {
		r.traceLane = newLane("traces", r.config.QueueSize, patient, wantedSpans(r.config.Traces.tracing()), r.sendTraces)
		r.traceLane.start()
	}
	if r.metrics == nil || !passes(r.config.ResourceAttributes, r.origin.Resource, forMetrics) {
		return
	}
	metrics := r.config.Metrics.wanted()
	if metrics.Duration {
		r.durations = telemetry.NewDurations(time.Now())
	}
	if metrics.HTTPRequests || metrics.DNSQueries || metrics.DNSDuration {
		r.exchanges = telemetry.NewExchanges(time.Now())
	}
}

// lanes are those of the signals that are in a pipeline.
func (r *connectionReceiver) lanes() []*lane {
	var lanes []*lane
	for _, l := range []*lane{r.logLane, r.traceLane} {
		if l != nil {
			lanes = append(lanes, l)
		}
	}
	return lanes
}

// takeConnections and takeExchanges are the engine's sink. They run in its reader:
// they copy and return. A capture can wait for slow pipelines, the kernel cannot.
func (r *connectionReceiver) takeConnections(records []telemetry.Connection) {
	r.tellConnections(records)
	if r.durations != nil {
		r.durations.Observe(records)
	}
	for _, l := range r.lanes() {
		l.queue.put(records, l.wanted.connection)
	}
}

func (r *connectionReceiver) takeExchanges(records []telemetry.Exchange) {
	r.tellExchanges(records)
	if r.exchanges != nil {
		r.exchanges.Observe(records)
	}
	for _, l := range r.lanes() {
		l.queue.putExchanges(records, l.wanted.exchange)
	}
}

// policyChanged takes what happens to the policy, from the extension and from
// the engine; it does not block.
func (r *connectionReceiver) policyChanged(change telemetry.PolicyChange) {
	if change.Change == telemetry.PolicyRefused {
		r.lastPolicyError.Store(change.Time.UnixNano())
	}
	for _, api := range r.apis {
		api.PolicyChanged(change)
	}
	if r.logLane != nil && r.config.Events.WeirPolicyChange.Enabled {
		r.logLane.queue.putChange(change)
	}
}

// engineChangedPolicy takes what happened to the policy by itself, which the
// extension does not know.
func (r *connectionReceiver) engineChangedPolicy(change telemetry.PolicyChange) {
	if r.events != nil {
		r.events.PolicyChanged(change)
	}
	r.policyChanged(change)
}

// Shutdown ends in the order in which things depend on each other: no more new
// policies, a last collection, the engine (which keeps or unloads the programs
// and tells what it still knows), and then the queues are drained. It may be
// called again, and without Start.
func (r *connectionReceiver) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.drain)
	defer cancel()
	if r.unfollow != nil {
		r.unfollow()
	}
	r.leave()
	if r.collector != nil {
		r.collector.stop(ctx)
	}
	if r.accounts != nil {
		r.accounts.close()
	}
	var err error
	if r.stats != nil {
		r.stats.freeze()
	}
	if r.engine != nil {
		if err = r.engine.Shutdown(ctx); err != nil {
			err = fmt.Errorf("stop the datapath: %w", err)
		}
	}
	// Both at once, then wait for each.
	for _, l := range r.lanes() {
		l.queue.close()
	}
	if r.captureEnd != nil {
		r.captureEnd.stop()
	}
	for _, l := range r.lanes() {
		if lost := l.stop(ctx); lost > 0 {
			r.settings.Logger.Warn("the next consumer did not take all events before the end",
				zap.String("signal", l.signal), zap.Int("lost", lost))
		}
	}
	if r.self != nil {
		r.self.Shutdown()
	}
	r.unfollow, r.collector, r.accounts, r.engine, r.stats, r.self = nil, nil, nil, nil, nil, nil
	return err
}
