package ebpfconnectionreceiver

import (
	"context"

	"github.com/weirnet/weir/internal/telemetry"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// sendLogs hands a batch to the logs pipeline.
func (r *connectionReceiver) sendLogs(ctx context.Context, batch []entry) error {
	logs, records := r.origin.NewLogs()
	records.EnsureCapacity(len(batch))
	for i := range batch {
		if batch[i].change != nil {
			telemetry.AppendPolicyChange(records, batch[i].change)
			continue
		}
		telemetry.AppendLog(records, &batch[i].connection)
	}
	ctx = r.report.StartLogsOp(ctx)
	err := r.logs.ConsumeLogs(ctx, logs)
	r.report.EndLogsOp(ctx, metadata.Type.String(), len(batch), err)
	return err
}

// sendTraces hands a batch to the traces pipeline.
func (r *connectionReceiver) sendTraces(ctx context.Context, batch []entry) error {
	traces, spans := r.origin.NewTraces()
	spans.EnsureCapacity(len(batch))
	for i := range batch {
		telemetry.AppendSpan(spans, r.origin.Host, &batch[i].connection)
	}
	ctx = r.report.StartTracesOp(ctx)
	err := r.traces.ConsumeTraces(ctx, traces)
	r.report.EndTracesOp(ctx, metadata.Type.String(), len(batch), err)
	return err
}
