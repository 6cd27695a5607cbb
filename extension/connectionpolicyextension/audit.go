package connectionpolicyextension

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/weirnet/weir/internal/audit"
	"github.com/weirnet/weir/internal/securefile"
	"github.com/weirnet/weir/internal/telemetry"
)

// auditClose is how long the end waits for the last lines, where the Collector sets
// no other time.
const auditClose = 5 * time.Second

// auditor writes what becomes of the policy to the audit log.
type auditor struct {
	log *audit.Log
	// told is the policy that the log was told of last.
	told *version
}

// openAudit begins the audit log, where one is asked for. A log that cannot be
// written does not keep the policy from being enforced: it is said, and tried again.
func (e *policyExtension) openAudit() error {
	if !e.cfg.Audit.HasValue() {
		return nil
	}
	settings := e.cfg.Audit.Get()
	size, err := parseSize(settings.MaxSize)
	if err != nil {
		return err // Validate has said so
	}
	log := audit.Open(audit.Config{
		Path: settings.Path, Access: e.cfg.access(securefile.Private), MaxSize: size,
		RotateInterval: settings.RotateInterval, MaxAge: settings.MaxAge, MaxBackups: settings.MaxBackups,
		LinesPerSecond: settings.LinesPerSecond,
	}, e.report.auditState)
	e.audit = &auditor{log: log}
	log.Note(e.now(), "start", fmt.Sprintf("Weir %s, process %d of user %d, policy from %s",
		e.version, os.Getpid(), os.Getuid(), e.watch.reader.source))
	return e.observeAudit(log)
}

// closeAudit ends it.
func (e *policyExtension) closeAudit(ctx context.Context) error {
	if e.audit == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, auditClose)
	defer cancel()
	return e.audit.log.Close(ctx, fmt.Sprintf("process %d", os.Getpid()))
}

// change notes a change, and what is other than before in the policy that is in
// force now.
func (a *auditor) change(record telemetry.PolicyChange, current version) {
	if a == nil {
		return
	}
	before := a.told
	if before == nil || before.packed == current.packed || record.Change == telemetry.PolicyRefused {
		a.log.PolicyChange(record, "")
	} else {
		a.log.PolicyChange(record, difference(before.packed, current.packed, record.Time))
		if before.Policy.Mode != current.Policy.Mode {
			a.log.Note(record.Time, "mode", fmt.Sprintf("%v, was %v: generation %d", current.Policy.Mode, before.Policy.Mode, record.Generation))
		}
	}
	if record.Change != telemetry.PolicyRefused {
		a.told = &current
	}
}

// difference says on one line what is other in the second policy.
func difference(before, after packedText, at time.Time) string {
	changes, err := diff(before, after, at)
	switch {
	case err != nil:
		return "what is other than before could not be found out: " + oneLine(err)
	case changes.Empty():
		return "no rule or setting is other than before"
	}
	return changes.Line(mostDifference)
}

// mostDifference is how much of a difference a line has, in bytes.
const mostDifference = 2000

// problem notes an error that is not a policy's.
func (a *auditor) problem(at time.Time, err error) {
	if a != nil {
		a.log.Note(at, "error", err.Error())
	}
}

func (e *policyExtension) observeAudit(log *audit.Log) error {
	number := func(value func(audit.Counts) uint64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(value(log.Counts())))
			return nil
		}
	}
	byCause := func(value func(audit.Counts) map[string]uint64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for cause, n := range value(log.Counts()) {
				o.Observe(int64(n), metric.WithAttributes(attribute.String("cause", cause)))
			}
			return nil
		}
	}
	t := e.report.telemetry
	return errors.Join(
		t.RegisterWeirAuditLinesCallback(number(func(c audit.Counts) uint64 { return c.Lines })),
		t.RegisterWeirAuditConnectionsCallback(number(func(c audit.Counts) uint64 { return c.Connections })),
		t.RegisterWeirAuditExchangesCallback(number(func(c audit.Counts) uint64 { return c.Exchanges })),
		t.RegisterWeirAuditUnlinedCallback(number(func(c audit.Counts) uint64 { return c.Unlined })),
		t.RegisterWeirAuditFoldedCallback(byCause(func(c audit.Counts) map[string]uint64 { return c.Folded })),
		t.RegisterWeirAuditFailuresCallback(byCause(func(c audit.Counts) map[string]uint64 { return c.Failures })),
		t.RegisterWeirAuditLostCallback(byCause(func(c audit.Counts) map[string]uint64 { return c.Lost })),
	)
}
