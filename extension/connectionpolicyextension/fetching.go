package connectionpolicyextension

import (
	"context"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
)

// fetch asks for the policy once, and tells what came of it.
func (e *policyExtension) fetch(ctx context.Context) outcome {
	got, err := e.watch.reader.remote.fetch(ctx)
	if ctx.Err() == nil { // not the end of the Collector
		e.report.fetched(got, err)
	}
	return got
}

// fetchAgain asks for the policy until the end. It holds no lock while it waits for
// the server: what was fetched is found by the next look, as a change of a file is.
func (e *policyExtension) fetchAgain(ctx context.Context) {
	defer close(e.fetchDone)
	every := e.watch.reader.remote.cfg.PollInterval
	for !e.watch.reader.remote.isFinal() {
		// Hosts that started together do not ask together for ever.
		wait := time.NewTimer(every + rand.N(every/10+1))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		if e.fetch(ctx) == changed {
			e.look()
		}
	}
}

// fetched counts an attempt. A failure is told once, and stays the component's status
// until one succeeds; the policy in force stays.
func (r *reporter) fetched(o outcome, err error) {
	r.telemetry.WeirPolicyFetches.Add(context.Background(), 1, metric.WithAttributes(attribute.String("outcome", string(o))))
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && (r.fetchError == nil || r.fetchError.Error() != err.Error()):
		r.logger.Warn("The policy cannot be fetched. What was fetched last, or the last good policy, is in force", zap.Error(err))
	case err == nil && r.fetchError != nil:
		r.logger.Info("The policy can be fetched again")
	}
	r.fetchError = err
	r.status()
}
