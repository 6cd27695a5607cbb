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
		switch e := &batch[i]; {
		case e.change != nil:
			telemetry.AppendPolicyChange(records, e.change)
		case e.exchange != nil:
			telemetry.AppendExchangeLog(records, e.exchange)
		default:
			telemetry.AppendLog(records, &e.connection)
		}
	}
	if err := ctx.Err(); err != nil {
		return err // it is too late
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
	tracing := r.config.Traces.tracing()
	for i := range batch {
		if e := &batch[i]; e.exchange != nil {
			tracing.AppendExchange(spans, r.origin.Host, e.exchange)
		} else {
			telemetry.AppendSpan(spans, r.origin.Host, &e.connection)
		}
	}
	if err := ctx.Err(); err != nil {
		return err // it is too late
	}
	ctx = r.report.StartTracesOp(ctx)
	err := r.traces.ConsumeTraces(ctx, traces)
	r.report.EndTracesOp(ctx, metadata.Type.String(), len(batch), err)
	return err
}
