package e2e

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// counts are packets and IP bytes.
type counts struct{ packets, bytes int64 }

func (c *counts) add(d counts) { c.packets += d.packets; c.bytes += d.bytes }

// expectation is all that the records are to say of a connection, but for times
// and its id.
type expectation struct {
	direction  string
	verdict    string
	mode       string
	action     string // empty: nothing is claimed
	reason     string
	rule       string
	generation string
	shadowRule string
	shadow     string
	end        string
	// sent by each end, as the peers counted it.
	source, destination counts
	iface               string // default: weir0
}

func (e expectation) judgement() map[string]any {
	attributes := map[string]any{"weir.direction": e.direction, "weir.verdict": e.verdict, "weir.mode": e.mode}
	for key, value := range map[string]string{
		"weir.action": e.action, "weir.reason": e.reason, "security_rule.name": e.rule,
		"security_rule.version": e.generation, "weir.shadow.rule": e.shadowRule, "weir.shadow.action": e.shadow,
	} {
		if value != "" {
			attributes[key] = value
		}
	}
	return attributes
}

func (c tuple) attributes() map[string]any {
	network := "ipv6"
	if c.source.Addr().Is4() {
		network = "ipv4"
	}
	attributes := map[string]any{
		"network.transport": c.transport, "network.type": network,
		"source.address": c.source.Addr().String(), "destination.address": c.destination.Addr().String(),
	}
	switch c.transport {
	case "tcp", "udp":
		attributes["source.port"] = int64(c.source.Port())
		attributes["destination.port"] = int64(c.destination.Port())
	case "icmp":
		attributes["weir.icmp.type"], attributes["weir.icmp.code"] = int64(8), int64(0)
	case "icmpv6":
		attributes["weir.icmp.type"], attributes["weir.icmp.code"] = int64(128), int64(0)
	}
	return attributes
}

// expect waits for the end of a connection that keeps its first verdict, and
// compares every attribute of its two records.
func (w *weir) expect(t *testing.T, c tuple, e expectation) {
	t.Helper()
	s := w.ended(t, c)
	if len(s) != 2 || s[0].event != "weir.connection.start" || s[1].event != "weir.connection.end" {
		t.Fatalf("want a start and an end of %v, got\n%v", c, s)
	}
	expectRecord(t, s[0], c, e)
	expectRecord(t, s[1], c, e)
}

// expectRecord compares one record.
func expectRecord(t *testing.T, r record, c tuple, e expectation) {
	t.Helper()
	want := c.attributes()
	maps.Copy(want, e.judgement())
	want["network.interface.name"] = nearName
	if e.iface != "" {
		want["network.interface.name"] = e.iface
	}
	got := maps.Clone(r.attributes)
	if id := r.str("weir.connection.id"); len(id) != 16 {
		t.Errorf("%s: weir.connection.id is %q", r.event, id)
	}
	delete(got, "weir.connection.id")
	if r.event != "weir.connection.start" {
		want["weir.source.packets"], want["weir.source.bytes"] = e.source.packets, e.source.bytes
		want["weir.destination.packets"], want["weir.destination.bytes"] = e.destination.packets, e.destination.bytes
	}
	if r.event == "weir.connection.end" {
		want["weir.end_reason"] = e.end
		if d, ok := got["weir.duration"].(float64); !ok || d < 0 {
			t.Errorf("%v: weir.duration is %v", c, got["weir.duration"])
		}
		delete(got, "weir.duration")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s of %v (-want +got):\n%s", r.event, c, diff)
	}
	severity := "INFO"
	if e.verdict == "blocked" || e.action == "block" {
		severity = "WARN"
	}
	if r.severity != severity {
		t.Errorf("%s of %v: severity %s, want %s", r.event, c, r.severity, severity)
	}
}
