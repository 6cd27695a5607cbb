package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/weirnet/weir/internal/telemetry"
)

// replayReport prints records as they come, and sums them up.
type replayReport struct {
	c    *cobra.Command
	show string
	json bool
	err  error
	// byRule counts connections by what became of them in the end.
	byRule                    map[summaryKey]uint64
	total, blocked, undecided uint64
	// said counts requests, handshakes and queries.
	said, saidBlocked uint64
}

type summaryKey struct {
	Rule   string `json:"rule,omitempty"`
	Action string `json:"action,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func (r *replayReport) take(records []telemetry.Connection) {
	for i := range records {
		record := &records[i]
		j := &record.Judgement
		if record.Kind == telemetry.ConnectionEnd {
			r.total += record.Count
			r.byRule[summaryKey{j.Rule, j.Action.String(), j.Reason.String()}] += record.Count
			switch j.Action {
			case telemetry.Block:
				r.blocked += record.Count
			case telemetry.NoAction:
				if j.Reason == telemetry.ReasonPending {
					r.undecided += record.Count
				}
			}
		}
		if r.show == "none" || r.show == "blocked" && j.Action != telemetry.Block {
			continue
		}
		r.print(record.Line, func(logs plog.LogRecordSlice) { telemetry.AppendLog(logs, record) })
	}
}

// takeSaid takes requests, handshakes and queries, which are judged by themselves.
func (r *replayReport) takeSaid(said []telemetry.Exchange) {
	for i := range said {
		one := &said[i]
		r.said++
		if one.Judgement.Action == telemetry.Block {
			r.saidBlocked++
		} else if r.show == "blocked" {
			continue
		}
		if r.show != "none" {
			r.print(one.Line, func(logs plog.LogRecordSlice) { telemetry.AppendExchangeLog(logs, one) })
		}
	}
}

// jsonRecord is a log record as a line of JSON, under the names of its attributes.
type jsonRecord struct {
	Event      string         `json:"event"`
	Time       time.Time      `json:"time"`
	Body       string         `json:"body"`
	Attributes map[string]any `json:"attributes"`
}

func (r *replayReport) print(line func() string, record func(plog.LogRecordSlice)) {
	if !r.json {
		printLine(r.c, "%s", line())
		return
	}
	logs := plog.NewLogRecordSlice()
	record(logs)
	l := logs.At(0)
	r.encode(jsonRecord{l.EventName(), l.Timestamp().AsTime(), l.Body().Str(), l.Attributes().AsRaw()})
}

func (r *replayReport) encode(value any) {
	e := json.NewEncoder(r.c.OutOrStdout())
	e.SetEscapeHTML(false)
	if err := e.Encode(value); r.err == nil {
		r.err = err
	}
}

// summary comes last.
func (r *replayReport) summary() error {
	keys := slices.SortedFunc(maps.Keys(r.byRule), func(a, b summaryKey) int {
		return cmp.Or(cmp.Compare(r.byRule[b], r.byRule[a]), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Action, b.Action))
	})
	if r.json {
		type row struct {
			summaryKey
			Connections uint64 `json:"connections"`
		}
		rows := []row{}
		for _, k := range keys {
			rows = append(rows, row{k, r.byRule[k]})
		}
		r.encode(map[string]any{"summary": map[string]any{
			"connections": r.total, "blocked": r.blocked, "undecided": r.undecided, "rules": rows,
			"exchanges": r.said, "exchanges_blocked": r.saidBlocked,
		}})
		return failedWith(r.err)
	}
	if r.show != "none" && r.total > 0 {
		printLine(r.c, "")
	}
	width := 0
	for _, k := range keys {
		width = max(width, len(k.name()))
	}
	for _, k := range keys {
		printLine(r.c, "%-*s  %-7s %8d", width, k.name(), k.outcome(), r.byRule[k])
	}
	told := fmt.Sprintf("%s: %d would be blocked", count(int(r.total), "connection"), r.blocked)
	if r.undecided > 0 {
		told += fmt.Sprintf(", %d undecided", r.undecided)
	}
	printLine(r.c, "%s", told)
	if r.said > 0 {
		printLine(r.c, "requests, handshakes and queries: %d, of which %d would be blocked", r.said, r.saidBlocked)
	}
	return nil
}

// name is the rule, or what decided instead.
func (k summaryKey) name() string {
	if k.Rule != "" {
		return k.Rule
	}
	if k.Reason != "" {
		return "(" + k.Reason + ")"
	}
	return "(no rules)"
}

func (k summaryKey) outcome() string {
	if k.Action == "" {
		return "-"
	}
	return k.Action
}
