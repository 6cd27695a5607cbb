package datapath

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

// What becomes of an open connection when a policy comes into force that needs facts of it,
// and that keeps nothing which was not seen: while somebody reads, what was let pass before
// waits for its word. answered is what on_error says at once where nobody does.
var awaitedCases = []struct {
	name                     string
	before, after            string
	protocol                 uint8
	verdict, reason          uint8
	answer                   uint32
	answeredWith, answeredBy uint8
}{
	{
		"allowed before", "mode: prevent\nrules: [{name: a, action: allow}]", strictWeb, packet.UDP,
		uint8(flow.Allowed), uint8(flow.ReasonKept), redirect, uint8(flow.Blocked), uint8(flow.ReasonDefault),
	},
	{
		"allowed before, and now but for what was not seen", "mode: prevent\nrules: [{name: a, action: allow}]",
		"mode: prevent\ndefault_action: allow\non_error: {not_seen: block}\nrules: [{name: web, action: block, layer7: {dns: a.example}}]", packet.UDP,
		uint8(flow.Allowed), uint8(flow.ReasonKept), redirect, uint8(flow.Blocked), uint8(flow.ReasonNotSeen),
	},
	{
		"in detect mode", "mode: detect\nrules: [{name: a, action: block}]", strictWeb, packet.UDP,
		uint8(flow.Allowed), uint8(flow.ReasonKept), redirect, uint8(flow.Blocked), uint8(flow.ReasonDefault),
	},
	{
		"blocked before", "mode: prevent\nrules: [{name: a, action: block}]", strictWeb, packet.UDP,
		uint8(flow.Blocked), uint8(flow.ReasonDefault), drop, uint8(flow.Blocked), uint8(flow.ReasonDefault),
	},
	{
		"blocked now, whatever is known", "mode: prevent\nrules: [{name: a, action: allow}]", "mode: prevent\non_error: {not_seen: block}\nrules: [{name: b, action: block}]", packet.UDP,
		uint8(flow.Blocked), uint8(flow.ReasonRule), drop, uint8(flow.Blocked), uint8(flow.ReasonRule),
	},
	{
		"a protocol that nobody looks into", "mode: prevent\nrules: [{name: a, action: allow}]",
		"mode: prevent\non_error: {not_seen: block}\nrules: [{name: named, action: allow, layer3: {destination_names: a.example}}]", packet.ICMP,
		uint8(flow.Blocked), uint8(flow.ReasonDefault), drop, uint8(flow.Blocked), uint8(flow.ReasonDefault),
	},
}

const strictWeb = "mode: prevent\non_error: {not_seen: block}\nrules: [{name: web, action: allow, layer7: {dns: a.example}}]"

// awaited says what does not wait as it should.
func awaited(t *testing.T, d *Datapath, reads bool) (wrong []string) {
	t.Helper()
	if err := d.SetHold(true, HoldConfig{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range awaitedCases {
		forget(t, d)
		tp := packet.Tuple{Source: address("10.0.0.1"), Destination: address("192.0.2.1"), Protocol: c.protocol, SourcePort: 40000, DestinationPort: 53}
		if c.protocol == packet.ICMP {
			tp.SourcePort, tp.DestinationPort, tp.ICMPType = 0, 0, 8
		}
		raw := frame(tp)
		twin := flow.New(flow.Config{MaxEntries: 10})
		var p packet.Packet
		outcome := p.Decode(&packet.Frame{Data: raw, Link: packet.LinkEthernet})
		var events []flow.Event
		var answer uint32
		var result flow.Result
		for i, text := range []string{c.before, c.after} {
			policy := load(t, text)
			swap(t, d, policy)
			twin.Swap(policy)
			twin.SetHold(flow.Hold{On: i > 0})
			if err := d.beat(d.hold, 0, reads); err != nil {
				t.Fatal(err)
			}
			answer = run(t, d.objects.Ingress, raw)
			result, events = twin.Process(&p, outcome, &flow.Hook{Interface: 1}, int64(time.Second), events)
		}
		verdict, reason, want := c.verdict, c.reason, c.answer
		if !reads {
			verdict, reason, want = c.answeredWith, c.answeredBy, drop
		}
		if e := entry(t, d, p.Tuple); e.Verdict != verdict || e.Reason != reason || answer != want {
			wrong = append(wrong, fmt.Sprintf("%s: the kernel has verdict %d, reason %d and answers %d", c.name, e.Verdict, e.Reason, int32(answer)))
		}
		if e := events[len(events)-1]; reads && (uint8(e.Verdict) != verdict || uint8(e.Reason) != reason || result.Held != (want == redirect)) {
			t.Errorf("%s: the reference has %+v and answers %+v", c.name, e, result)
		}
	}
	return wrong
}

func TestAwaited(t *testing.T) {
	for _, reads := range []bool{true, false} {
		t.Run(fmt.Sprintf("somebody reads: %v", reads), func(t *testing.T) {
			for _, wrong := range awaited(t, open(t), reads) {
				t.Error(wrong)
			}
		})
	}
}

func TestAwaitedMutant(t *testing.T) {
	d := openMutant(t)
	setMutant(t, d, 39)
	if wrong := awaited(t, d, true); len(wrong) != 3 {
		t.Errorf("noticed in %d cases: %v", len(wrong), wrong)
	}
}

// TestHeldOn: a connection that user space has let go, while a packet of it was still away,
// waits again when another policy comes into force that keeps nothing.
func TestHeldOn(t *testing.T) {
	for notSeen, answer := range map[string]uint32{"block": redirect, "keep": pass} {
		t.Run(notSeen, func(t *testing.T) {
			d := open(t)
			if err := d.SetHold(true, HoldConfig{}); err != nil {
				t.Fatal(err)
			}
			tp := packet.Tuple{Source: address("10.0.0.1"), Destination: address("192.0.2.1"), Protocol: packet.UDP, SourcePort: 40000, DestinationPort: 53}
			raw := frame(tp)
			say := func() uint32 {
				t.Helper()
				if err := d.beat(d.hold, 0, true); err != nil {
					t.Fatal(err)
				}
				return run(t, d.objects.Ingress, raw)
			}
			text := "mode: prevent\non_error: {not_seen: " + notSeen + "}\n" + "rules: [{name: web, action: allow, layer7: {dns: a.example}}]"
			swap(t, d, load(t, text))
			if got := say(); got != redirect {
				t.Fatalf("the first is answered by %d", int32(got))
			}
			k, _ := flowKey(tp)
			results, err := d.Settle([]Settlement{{
				Key: FlowKey{k}, ID: entry(t, d, tp).Id, Judged: true, Tables: d.tables, Rule: 0, ShadowRule: NoRule,
				Action: uint8(flow.Allow), Reason: uint8(flow.ReasonRule), Done: true,
			}})
			if err != nil || results[0] != Settled {
				t.Fatal(results, err)
			}
			swap(t, d, load(t, text))
			say()                              // judged anew
			time.Sleep(300 * time.Millisecond) // more than DRAIN_NS of bpf/hold_state.h
			if got := say(); got != answer {
				t.Errorf("another is answered by %d, want %d", int32(got), int32(answer))
			}
		})
	}
}
