package ebpfconnectionreceiver

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/internal/telemetry"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadatatest"
)

func TestSelfTelemetry(t *testing.T) {
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(context.Background())) }()
	r, fake := newTestReceiver(t, func(c *Config) { c.QueueSize = 4 })
	r.settings.TelemetrySettings = tel.NewTelemetrySettings()
	stuck := newStuckLogs(true)
	r.logs, r.traces = stuck, consumertest.NewErr(errors.New("full"))
	fake.statistics = engineStats{
		Lost:        map[string]uint64{"ring_full": 3},
		Packets:     map[string]uint64{"malformed_dropped": 2},
		FlowEntries: 5, FlowCapacity: 100, ProgramRunTime: 1500 * time.Millisecond,
		Interfaces: 2, Generation: 7, Rules: 12,
		Hold: engine.HoldStats{Connections: 9, Bytes: 1500, Released: 10, Waited: 2 * time.Millisecond},
		Inspect: engine.InspectStats{
			Opened: 8, Connections: 3, Held: 4096,
			Limited: map[string]uint64{"evicted": 4}, Untaken: map[string]uint64{"stale": 6},
		},
		Probe: engine.ProbeStats{Running: 2, Remembered: 3, Cached: 5, Joined: 1, Probes: map[string]uint64{"seen": 4}},
	}
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))

	fake.sink(connections(telemetry.ConnectionStart, 1))
	<-stuck.entered
	fake.sink(connections(telemetry.ConnectionStart, 6))
	blocked := connections(telemetry.ConnectionEnd, 1)
	blocked[0].Judgement.Verdict = telemetry.Blocked
	fake.sink(blocked)
	fake.changed(telemetry.PolicyChange{Change: telemetry.PolicyRefused, Time: time.Unix(1234, 5e8)})
	eventually(t, func() bool { return r.traceLane.counts().refused == 1 }, "the span is refused")

	exact := metricdatatest.IgnoreTimestamp()
	metadatatest.AssertEqualWeirDatapathInterfaces(t, tel, []metricdata.DataPoint[int64]{{Value: 2}}, exact)
	metadatatest.AssertEqualWeirDatapathRunTime(t, tel, []metricdata.DataPoint[float64]{{Value: 1.5}}, exact)
	metadatatest.AssertEqualWeirFlowTableCapacity(t, tel, []metricdata.DataPoint[int64]{{Value: 100}}, exact)
	metadatatest.AssertEqualWeirFlowTableEntries(t, tel, []metricdata.DataPoint[int64]{{Value: 5}}, exact)
	metadatatest.AssertEqualWeirDatapathPackets(t, tel, []metricdata.DataPoint[int64]{{
		Value: 2, Attributes: attribute.NewSet(attribute.String("weir.packet.cause", "malformed_dropped")),
	}}, exact)
	metadatatest.AssertEqualWeirHoldConnections(t, tel, []metricdata.DataPoint[int64]{{Value: 9}}, exact)
	metadatatest.AssertEqualWeirHoldBytes(t, tel, []metricdata.DataPoint[int64]{{Value: 1500}}, exact)
	metadatatest.AssertEqualWeirHoldReleased(t, tel, []metricdata.DataPoint[int64]{{Value: 10}}, exact)
	metadatatest.AssertEqualWeirHoldTime(t, tel, []metricdata.DataPoint[float64]{{Value: 0.002}}, exact)
	metadatatest.AssertEqualWeirInspectConnections(t, tel, []metricdata.DataPoint[int64]{{Value: 3}}, exact)
	metadatatest.AssertEqualWeirInspectHeld(t, tel, []metricdata.DataPoint[int64]{{Value: 4096}}, exact)
	metadatatest.AssertEqualWeirInspectOpened(t, tel, []metricdata.DataPoint[int64]{{Value: 8}}, exact)
	metadatatest.AssertEqualWeirInspectLimited(t, tel, []metricdata.DataPoint[int64]{{
		Value: 4, Attributes: attribute.NewSet(attribute.String("weir.inspect.cause", "evicted")),
	}}, exact)
	metadatatest.AssertEqualWeirInspectUntaken(t, tel, []metricdata.DataPoint[int64]{{
		Value: 6, Attributes: attribute.NewSet(attribute.String("weir.settlement.cause", "stale")),
	}}, exact)
	outcome := func(value int64, name string) metricdata.DataPoint[int64] {
		return metricdata.DataPoint[int64]{Value: value, Attributes: attribute.NewSet(attribute.String("weir.probe.outcome", name))}
	}
	metadatatest.AssertEqualWeirProbeQuestions(t, tel, []metricdata.DataPoint[int64]{outcome(4, "seen"), outcome(5, "cached"), outcome(1, "joined")}, exact)
	metadatatest.AssertEqualWeirProbeRunning(t, tel, []metricdata.DataPoint[int64]{{Value: 2}}, exact)
	metadatatest.AssertEqualWeirProbeRemembered(t, tel, []metricdata.DataPoint[int64]{{Value: 3}}, exact)
	metadatatest.AssertEqualWeirDatapathGeneration(t, tel, []metricdata.DataPoint[int64]{{Value: 7}}, exact)
	metadatatest.AssertEqualWeirDatapathRules(t, tel, []metricdata.DataPoint[int64]{{Value: 12}}, exact)
	metadatatest.AssertEqualWeirPolicyLastErrorTime(t, tel, []metricdata.DataPoint[float64]{{Value: 1234.5}}, exact)

	logs, traces := attribute.String("otel.signal", "logs"), attribute.String("otel.signal", "traces")
	lost := func(value int64, attributes ...attribute.KeyValue) metricdata.DataPoint[int64] {
		return metricdata.DataPoint[int64]{Value: value, Attributes: attribute.NewSet(attributes...)}
	}
	metadatatest.AssertEqualWeirQueueLength(t, tel, []metricdata.DataPoint[int64]{lost(5, logs), lost(0, traces)}, exact)
	metadatatest.AssertEqualWeirEventsDelivered(t, tel, []metricdata.DataPoint[int64]{lost(0, logs), lost(0, traces)}, exact)
	metadatatest.AssertEqualWeirEventsLost(t, tel, []metricdata.DataPoint[int64]{
		lost(3, cause("ring_full")),
		lost(3, cause("queue_full"), logs), lost(0, cause("refused"), logs), lost(0, cause("shutdown"), logs),
		lost(0, cause("queue_full"), traces), lost(1, cause("refused"), traces), lost(0, cause("shutdown"), traces),
	}, exact)

	accepted, err := tel.GetMetric("otelcol_receiver_refused_spans")
	require.NoError(t, err, "the Collector's own counters are kept too")
	require.Equal(t, int64(1), accepted.Data.(metricdata.Sum[int64]).DataPoints[0].Value)

	close(stuck.release)
	require.NoError(t, r.Shutdown(context.Background()))
}

// Without a refused policy there is no time of one.
func TestNoPolicyError(t *testing.T) {
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(context.Background())) }()
	r, _ := newTestReceiver(t, nil)
	r.settings.TelemetrySettings = tel.NewTelemetrySettings()
	require.NoError(t, r.Start(context.Background(), newTestHost()))
	_, err := tel.GetMetric("otelcol_weir_policy_last_error_time")
	require.Error(t, err)
	require.NoError(t, r.Shutdown(context.Background()))
}

var _ component.Host = (*testHost)(nil)
