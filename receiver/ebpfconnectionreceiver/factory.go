package ebpfconnectionreceiver

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// NewFactory makes the factory of the receiver ebpf_connection.
func NewFactory() receiver.Factory {
	return receiver.NewFactory(
		metadata.Type,
		createDefaultConfig,
		receiver.WithLogs(createLogs, metadata.LogsStability),
		receiver.WithMetrics(createMetrics, metadata.MetricsStability),
		receiver.WithTraces(createTraces, metadata.TracesStability),
	)
}

func createLogs(_ context.Context, settings receiver.Settings, config component.Config, next consumer.Logs) (receiver.Logs, error) {
	shared := receivers.of(config.(*Config), settings)
	shared.receiver.logs = next
	return shared, nil
}

func createMetrics(_ context.Context, settings receiver.Settings, config component.Config, next consumer.Metrics) (receiver.Metrics, error) {
	shared := receivers.of(config.(*Config), settings)
	shared.receiver.metrics = next
	return shared, nil
}

func createTraces(_ context.Context, settings receiver.Settings, config component.Config, next consumer.Traces) (receiver.Traces, error) {
	shared := receivers.of(config.(*Config), settings)
	shared.receiver.traces = next
	return shared, nil
}
