package engine

import (
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/telemetry"
)

// read turns the kernel's events into records until Shutdown.
func (e *Engine) read(sink Sink) {
	err := e.data.Read(func(events []datapath.Event) { e.hand(events, sink) })
	if err != nil {
		e.log.Error("The kernel's events cannot be read any more; enforcement goes on without them.", zap.Error(err))
	}
	e.looking.Wait()
	e.tellExchanges(time.Now(), sink) // those of connections that go on
}

// hand turns events into records for the sink. Before the end of a connection comes
// what was said inside of it.
func (e *Engine) hand(events []datapath.Event, sink Sink) {
	e.handing.Lock()
	defer e.handing.Unlock()
	e.records, e.ended = e.records[:0], e.ended[:0]
	now := time.Now()
	var ends []*datapath.Event
	for i := range events {
		if telemetry.Kind(events[i].Kind) == telemetry.ConnectionEnd && events[i].Count <= 1 {
			e.ended, ends = append(e.ended, events[i].ID), append(ends, &events[i])
		}
	}
	e.looks.over(ends, now)
	said := e.looks.said.has(e.ended)
	for i := range events {
		isEnd := telemetry.Kind(events[i].Kind) == telemetry.ConnectionEnd
		if isEnd && (said[events[i].ID] || e.looks.said.pending(events[i].Time)) {
			if len(e.records) > 0 {
				sink.Connections(e.records)
				e.records = e.records[:0]
			}
			e.looks.said.hand(events[i].Time, exchangesOf(sink))
			e.looks.said.handOf(events[i].ID, exchangesOf(sink))
		}
		e.records = append(e.records, e.record(&events[i], now))
	}
	sink.Connections(e.records)
}

// record names what the kernel knows by number. The enumerations of telemetry
// are those of bpf/flow.h.
func (e *Engine) record(k *datapath.Event, now time.Time) telemetry.Connection {
	v := e.versions.find(k.Tables)
	r := telemetry.Connection{
		Kind:      telemetry.Kind(k.Kind),
		Time:      k.Time,
		Observed:  now,
		ID:        k.ID,
		Tuple:     k.Tuple,
		Direction: k.Direction,
		Protocol:  protocolName(k.Application),
		Interface: k.Interface,
		Judgement: telemetry.Judgement{
			Rule:    v.ruleName(k.Rule),
			Verdict: telemetry.Verdict(k.Verdict),
			Action:  telemetry.Action(k.Action),
			Prevent: k.Prevent,
			Reason:  telemetry.Reason(k.Reason),
		},
		FirstSeen:   k.First,
		LastSeen:    k.Last,
		End:         telemetry.EndReason(k.End),
		Source:      telemetry.Counts{Packets: k.Packets[0], Bytes: k.Bytes[0]},
		Destination: telemetry.Counts{Packets: k.Packets[1], Bytes: k.Bytes[1]},
		Count:       k.Count,
		IPv6:        k.IPv6,
	}
	if v != nil {
		r.Judgement.Generation = v.generation
	}
	if k.ShadowRule != datapath.NoRule {
		r.Judgement.ShadowRule = v.ruleName(k.ShadowRule)
		r.Judgement.ShadowAction = telemetry.Action(k.ShadowAction)
	}
	return r
}
