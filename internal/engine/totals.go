package engine

import (
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/telemetry"
)

// Totals takes a snapshot of the counters.
func (e *Engine) Totals() (telemetry.Totals, error) {
	t := telemetry.Totals{Since: e.data.Since, Active: e.sweeps.get().Active}
	verdicts, err := e.data.Verdicts()
	if err != nil {
		return t, err
	}
	for _, v := range verdicts {
		t.Verdicts = append(t.Verdicts, telemetry.VerdictTotal{
			Verdict: telemetry.Verdict(v.Verdict), Action: telemetry.Action(v.Action),
			Reason: telemetry.Reason(v.Reason), Protocol: v.Protocol, Direction: v.Direction, Count: v.Count,
		})
	}
	traffic, err := e.data.Traffic()
	if err != nil {
		return t, err
	}
	for _, c := range traffic {
		t.Traffic = append(t.Traffic, telemetry.TrafficTotal{
			FromSource: c.FromSource, Verdict: telemetry.Verdict(c.Verdict), Protocol: c.Protocol,
			Direction: c.Direction, Counts: telemetry.Counts{Packets: c.Packets, Bytes: c.Bytes},
		})
	}
	t.Rules, err = e.ruleTotals()
	return t, err
}

// Blocked is the number of connections that were blocked, or would be if the policy
// were enforced, and since when.
func (e *Engine) Blocked() (since time.Time, n uint64, err error) {
	verdicts, err := e.data.Verdicts()
	if err != nil {
		return since, 0, err
	}
	for _, v := range verdicts {
		if telemetry.Verdict(v.Verdict) == telemetry.Blocked || telemetry.Action(v.Action) == telemetry.Block {
			n += v.Count
		}
	}
	return e.data.Since, n, nil
}

func (e *Engine) ruleTotals() ([]telemetry.RuleTotal, error) {
	e.apply.Lock() // no swap between the two reads
	defer e.apply.Unlock()
	counts, err := e.data.RuleTotals()
	if err != nil {
		return nil, err
	}
	for _, v := range e.held() {
		matches, err := e.matchesByName(v)
		if err != nil {
			return nil, err
		}
		for name, n := range matches {
			counts[name] += n
		}
	}
	totals := make([]telemetry.RuleTotal, 0, len(counts))
	for name, n := range counts {
		totals = append(totals, telemetry.RuleTotal{Rule: name, Count: n})
	}
	slices.SortFunc(totals, func(a, b telemetry.RuleTotal) int { return strings.Compare(a.Rule, b.Rule) })
	return totals, nil
}

// matchesByName are the counters of a version whose tables the kernel has.
func (e *Engine) matchesByName(v *version) (map[string]uint64, error) {
	matches, err := e.data.Matches(v.tables)
	if err != nil {
		return nil, err
	}
	counts := map[string]uint64{}
	for i, n := range matches {
		if name := v.ruleName(uint32(i)); name != "" {
			counts[name] += n
		}
	}
	return counts, nil
}

// Stats is what the engine tells of itself.
type Stats struct {
	// Lost counts connections without records, by cause.
	Lost map[string]uint64
	// Packets counts what the kernel did apart from judging connections, by
	// cause.
	Packets                   map[string]uint64
	FlowEntries, FlowCapacity uint64
	// ProgramRunTime is 0 unless the kernel was told to measure
	// (kernel.bpf_stats_enabled).
	ProgramRunTime time.Duration
	Interfaces     int
	Generation     uint64
	Rules          int
	Inspect        InspectStats
	Hold           HoldStats
	Probe          ProbeStats
}

// InspectStats is what the look into connections tells of itself.
type InspectStats struct {
	// Opened counts the connections that were looked into, Limited those of which less
	// was found out than there was, by cause.
	Opened  uint64
	Limited map[string]uint64
	// Untaken counts what the kernel did not take of what was found out, by cause.
	Untaken map[string]uint64
	// Connections are remembered, and Held bytes of memory held for them.
	Connections, Held int
}

// lostCauses are those counters that mean records nobody will see.
var lostCauses = []string{"flow_table_full"}

// lostExchanges is the cause by which lost exchanges are counted.
const lostExchanges = "inspect_backlog"

// Stats takes a snapshot of the engine's own state.
func (e *Engine) Stats() Stats {
	s := Stats{
		Lost: map[string]uint64{}, Packets: map[string]uint64{},
		FlowEntries: e.sweeps.get().Entries, FlowCapacity: uint64(e.config.MaxEntries),
		Interfaces: len(e.data.Interfaces()), Inspect: e.looks.stats(),
	}
	s.Lost[lostExchanges] = e.looks.said.countLost()
	if v := e.versions.latest(); v != nil {
		s.Generation, s.Rules = v.generation, len(v.rules)
	}
	s.ProgramRunTime, _ = e.data.RunTime()
	counters, err := e.data.Counters()
	if err != nil {
		e.log.Warn("The kernel's counters cannot be read.", zap.Error(err))
	}
	for _, c := range counters {
		if slices.Contains(lostCauses, c.Name) {
			s.Lost[c.Name] = c.Count
		} else {
			s.Packets[c.Name] = c.Count
		}
	}
	s.Hold = e.looks.holdStats()
	s.Probe = e.looks.probeStats()
	maps.Copy(s.Packets, s.Hold.Dropped)
	return s
}
