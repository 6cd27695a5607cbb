package connectionpolicyextension

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/weirnet/weir/extension/connectionpolicyextension/internal/metadata"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// reporter tells the operator of the Collector: by log, by component status and
// by metrics of its own.
type reporter struct {
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	host      component.Host

	// mu guards what is wrong now: with the policy that is configured, with fetching it,
	// and with the audit log. The component has one status for all.
	mu                                  sync.Mutex
	policyError, fetchError, auditError error
}

// change tells of a change after which current is in force.
func (r *reporter) change(c telemetry.PolicyChange, current Generation, loaded time.Time) {
	ctx := context.Background()
	r.telemetry.WeirPolicyChanges.Add(ctx, 1, metric.WithAttributes(attribute.String("change", c.Change.String())))
	r.telemetry.WeirPolicyGeneration.Record(ctx, int64(current.Number))
	if current.Policy != nil {
		r.telemetry.WeirPolicyRules.Record(ctx, int64(len(current.Policy.Rules)))
		r.telemetry.WeirPolicyLoadTime.Record(ctx, loaded.Unix())
	}
	fields := []zap.Field{zap.Uint64("generation", current.Number), zap.String("source", c.Source), zap.String("detail", c.Detail)}
	switch c.Change {
	case telemetry.PolicyLoaded:
		r.differs(nil)
		r.logger.Info("Policy loaded", fields...)
	case telemetry.PolicyConfirmed:
		r.logger.Info("Policy confirmed", fields...)
	case telemetry.PolicyRolledBack:
		r.differs(errors.New(c.Detail))
		r.logger.Warn("Policy rolled back", fields...)
	}
}

// renumbered tells that the policy in force was given another number.
func (r *reporter) renumbered(current Generation) {
	r.telemetry.WeirPolicyGeneration.Record(context.Background(), int64(current.Number))
	r.logger.Info("The numbers of policies go on after those of an earlier process", zap.Uint64("generation", current.Number))
}

// refusal tells of a policy that was refused, with every line of the error.
func (r *reporter) refusal(err error) {
	r.differs(err)
	r.logger.Error("Policy refused", zap.Strings("errors", strings.Split(err.Error(), "\n")))
}

// notKept tells that the last good policy, or its number, could not be kept: the
// next start has only what is in the file.
func (r *reporter) notKept(err error) {
	r.logger.Warn("The last good policy cannot be kept; set state_directory, or keep_last_good: false to do without", zap.Error(err))
}

// restored tells that the file is again what is in force.
func (r *reporter) restored(current Generation) {
	r.differs(nil)
	r.logger.Info("The policy file is again the policy in force",
		zap.Uint64("generation", current.Number), zap.String("source", current.Source))
}

func (r *reporter) warnings(warnings []policy.Warning) {
	for _, w := range warnings {
		r.logger.Warn("Policy warning", zap.Int("line", w.Line), zap.String("rule", w.Rule), zap.String("warning", w.String()))
	}
}

// differs sets the component status: an error while what is in the file is not
// what is in force.
func (r *reporter) differs(err error) {
	refused := int64(0)
	if err != nil {
		refused = 1
	}
	r.telemetry.WeirPolicyRefused.Record(context.Background(), refused)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policyError = err
	r.status()
}

// auditState tells that the audit log cannot be written, and why; with nil, that it
// can be again.
func (r *reporter) auditState(err error) {
	if err != nil {
		r.logger.Error("The audit log cannot be written; what happens is kept, and counted together", zap.Error(err))
	} else {
		r.logger.Info("The audit log is written again")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.auditError = err
	r.status()
}

// problem is what is wrong now; nil where nothing is.
func (r *reporter) problem() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong()
}

// policyProblem is why what is configured is not in force; nil where it is.
func (r *reporter) policyProblem() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.policyError
}

func (r *reporter) wrong() error { return errors.Join(r.policyError, r.fetchError, r.auditError) }

func (r *reporter) status() {
	if r.host == nil {
		return
	}
	event := componentstatus.NewEvent(componentstatus.StatusOK)
	if err := r.wrong(); err != nil {
		event = componentstatus.NewRecoverableErrorEvent(err)
	}
	componentstatus.ReportStatus(r.host, event)
}

// oneLine is the first line of an error and how many there are besides.
func oneLine(err error) string {
	first, rest, more := strings.Cut(err.Error(), "\n")
	if !more {
		return first
	}
	return fmt.Sprintf("%s (and %d more)", first, strings.Count(rest, "\n")+1)
}
