package telemetry

import (
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// AppendLog appends the log record of c: named after its kind, INFO, or WARN
// where the connection was or would be blocked.
func AppendLog(records plog.LogRecordSlice, c *Connection) {
	record := records.AppendEmpty()
	record.SetEventName(c.Kind.EventName())
	record.SetTimestamp(pcommon.NewTimestampFromTime(c.Time))
	record.SetObservedTimestamp(pcommon.NewTimestampFromTime(c.Observed))
	setSeverity(record, c.Judgement.blocked())
	var space [256]byte
	record.Body().SetStr(string(c.appendLine(space[:0])))
	putConnection(record.Attributes(), c)
}

// AppendExchangeLog appends the log record of e: named after its kind, INFO, or
// WARN where it was or would be blocked.
func AppendExchangeLog(records plog.LogRecordSlice, e *Exchange) {
	record := records.AppendEmpty()
	record.SetEventName(e.Kind.EventName())
	record.SetTimestamp(pcommon.NewTimestampFromTime(e.Time))
	record.SetObservedTimestamp(pcommon.NewTimestampFromTime(e.Observed))
	setSeverity(record, e.Judgement.blocked())
	var space [512]byte
	record.Body().SetStr(string(e.appendLine(space[:0])))
	putExchange(record.Attributes(), e)
}

// AppendPolicyChange appends the log record of p: WARN where a policy was
// refused or taken back, INFO otherwise. It is observed when it happens.
func AppendPolicyChange(records plog.LogRecordSlice, p *PolicyChange) {
	record := records.AppendEmpty()
	record.SetEventName(PolicyChangeEvent)
	record.SetTimestamp(pcommon.NewTimestampFromTime(p.Time))
	record.SetObservedTimestamp(pcommon.NewTimestampFromTime(p.Time))
	setSeverity(record, p.Change == PolicyRefused || p.Change == PolicyRolledBack)
	record.Body().SetStr(p.Line())
	attributes := record.Attributes()
	attributes.PutStr("weir.policy.outcome", p.Change.String())
	if p.Generation != 0 {
		attributes.PutStr("security_rule.version", strconv.FormatUint(p.Generation, 10))
	}
	if p.Source != "" {
		attributes.PutStr("weir.policy.source", clean(p.Source))
	}
	if p.Detail != "" {
		attributes.PutStr("weir.policy.detail", clean(p.Detail))
	}
}

func setSeverity(record plog.LogRecord, warn bool) {
	if warn {
		record.SetSeverityNumber(plog.SeverityNumberWarn)
		record.SetSeverityText("WARN")
		return
	}
	record.SetSeverityNumber(plog.SeverityNumberInfo)
	record.SetSeverityText("INFO")
}
