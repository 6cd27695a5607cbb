package flow_test

import (
	"testing"
	"time"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// What somebody finds out who looks into a connection becomes its verdict, is told
// once, counted, and void after a change of policy.
func TestSettle(t *testing.T) {
	const text = `
mode: prevent
default_action: block
rules:
  - {name: shadow, action: block, mode: detect, layer7: {http: {paths: [/x]}}}
  - {name: web, action: allow, layer7: {http: {hosts: [a.example]}}}`
	w := newSettling(t, text)
	events := w.process(packet.SYN, 0)
	if len(events) != 1 || events[0].Verdict != flow.Pending || events[0].Reason != flow.ReasonPending {
		t.Fatalf("%+v", events)
	}
	seen, ok := w.tracker.Seen()
	if !ok || seen.End != 0 || seen.Midstream || seen.Tuple != events[0].Tuple || seen.ID != events[0].ID {
		t.Fatalf("%+v", seen)
	}
	s := flow.Settlement{
		ID: seen.ID, Tuple: seen.Tuple, Tables: w.tables, Judged: true, Rule: w.rule("web"), ShadowRule: w.rule("shadow"),
		Action: flow.Allow, Reason: flow.ReasonRule, ShadowAction: flow.Block, Application: flow.ApplicationHTTP,
	}
	stale := s
	stale.Tables--
	if result, _ := w.tracker.Settle(&stale, nil); result != flow.SettledOtherTables {
		t.Error("a verdict of another policy counts")
	}
	other := s
	other.ID++
	if result, _ := w.tracker.Settle(&other, nil); result != flow.SettledOtherEpoch {
		t.Error("a verdict of another connection counts")
	}
	result, told := w.tracker.Settle(&s, nil)
	if result != flow.Settled || len(told) != 1 || told[0].Kind != flow.EventVerdict || told[0].Verdict != flow.Allowed || told[0].Rule != s.Rule ||
		told[0].ShadowRule != s.ShadowRule || told[0].ShadowAction != flow.Block || told[0].Application != flow.ApplicationHTTP {
		t.Fatalf("%v %+v", result, told)
	}
	if result, again := w.tracker.Settle(&s, nil); result != flow.Settled || len(again) != 0 {
		t.Errorf("told again: %+v", again)
	}
	if m := w.tracker.Matches(); m[s.Rule] != 1 || m[s.ShadowRule] != 1 {
		t.Errorf("matches %v", m)
	}
	// The packet alone leaves it open under another policy: it is kept as it is.
	w.swap(t, text)
	if events := w.process(packet.ACK, 0); len(events) != 1 || events[0].Verdict != flow.Allowed || events[0].Reason != flow.ReasonKept {
		t.Errorf("%+v", events)
	}
	s.Tables = w.tables
	s.Action, s.Rule, s.Reason, s.ShadowRule, s.ShadowAction = flow.Block, flow.NoRule, flow.ReasonDefault, flow.NoRule, flow.NoAction
	if _, told = w.tracker.Settle(&s, nil); len(told) != 1 || told[0].Verdict != flow.Blocked || told[0].End != flow.EndPolicy {
		t.Fatalf("%+v", told)
	}
	if result, _ := w.packet(packet.ACK, 0); !result.Drop {
		t.Error("packets of a connection that is blocked pass")
	}
	w.tracker.Flush(nil)
	if result, _ := w.tracker.Settle(&s, nil); result != flow.SettledGone {
		t.Error("a verdict of a connection that is over counts")
	}
}

// settling is a tracker with one connection.
type settling struct {
	tracker *flow.Tracker
	policy  *policy.Policy
	tables  uint32
	now     time.Duration
}

func newSettling(t *testing.T, text string) *settling {
	w := &settling{tracker: flow.New(flow.Config{MaxEntries: 10})}
	w.swap(t, text)
	return w
}

func (w *settling) swap(t *testing.T, text string) {
	t.Helper()
	p, _, err := policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	w.policy = p
	w.tables, _ = w.tracker.Swap(p)
}

func (w *settling) rule(name string) uint32 {
	for i, r := range w.policy.Walked() {
		if r.Name == name {
			return uint32(i)
		}
	}
	return flow.NoRule
}

func (w *settling) packet(flags uint8, payload int) (flow.Result, []flow.Event) {
	w.now += time.Millisecond
	p := c(flags, client, server, payload).packet()
	return w.tracker.Process(p, packet.Decoded, &out, beginning+int64(w.now), nil)
}

func (w *settling) process(flags uint8, payload int) []flow.Event {
	_, events := w.packet(flags, payload)
	return events
}
