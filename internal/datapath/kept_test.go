package datapath

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

// What a connection keeps when a policy comes into force that needs facts of it
// which are not known.
var keptCases = []struct {
	before, after           string
	verdict, action, reason uint8
	answer                  uint32
}{
	{"mode: prevent\nrules: [{name: a, action: allow}]", web, uint8(flow.Allowed), uint8(flow.Allow), uint8(flow.ReasonKept), pass},
	{"mode: prevent\nrules: [{name: a, action: block}]", web, uint8(flow.Blocked), uint8(flow.Block), uint8(flow.ReasonKept), drop},
	{"mode: prevent", web, uint8(flow.Allowed), uint8(flow.Allow), uint8(flow.ReasonKept), pass},
	{"mode: detect\nrules: [{name: a, action: block}]", web, uint8(flow.Allowed), uint8(flow.Allow), uint8(flow.ReasonKept), pass},
	{"mode: detect\nrules: [{name: a, action: block}]", "mode: detect\n" + webRules, uint8(flow.Detected), uint8(flow.Block), uint8(flow.ReasonKept), pass},
	{"mode: prevent\nrules: [{name: a, action: block}]", "mode: detect\n" + webRules, uint8(flow.Detected), uint8(flow.Block), uint8(flow.ReasonKept), pass},
	{"mode: detect", "mode: detect\n" + webRules, uint8(flow.Detected), uint8(flow.Allow), uint8(flow.ReasonKept), pass},
	{web, "mode: prevent\nreject: always\n" + webRules, uint8(flow.Pending), 0, uint8(flow.ReasonPending), pass},
}

const (
	webRules = "rules: [{name: web, action: allow, layer7: http}]"
	web      = "mode: prevent\n" + webRules
)

// kept says what is not kept as it should be, by the kernel or by the reference.
func kept(t *testing.T, d *Datapath) (wrong []string) {
	tp := packet.Tuple{
		Source: address("10.0.0.1"), Destination: address("192.0.2.1"), Protocol: packet.TCP, SourcePort: 40000, DestinationPort: 80,
	}
	raw := frame(tp)
	for i, c := range keptCases {
		forget(t, d)
		twin := flow.New(flow.Config{MaxEntries: 10})
		var p packet.Packet
		outcome := p.Decode(&packet.Frame{Data: raw, Link: packet.LinkEthernet})
		var events []flow.Event
		var answer uint32
		for _, text := range []string{c.before, c.after} {
			policy := load(t, text)
			swap(t, d, policy)
			twin.Swap(policy)
			answer = run(t, d.objects.Ingress, raw)
			_, events = twin.Process(&p, outcome, &flow.Hook{Interface: 1}, int64(time.Second), events)
		}
		if e := entry(t, d, tp); e.Verdict != c.verdict || e.Action != c.action || e.Reason != c.reason || answer != c.answer {
			wrong = append(wrong, fmt.Sprintf("%d: the kernel has verdict %d, action %d, reason %d and answers %d", i, e.Verdict, e.Action, e.Reason, int32(answer)))
		}
		if e := events[len(events)-1]; uint8(e.Verdict) != c.verdict || uint8(e.Action) != c.action || uint8(e.Reason) != c.reason {
			t.Errorf("%d: the reference has %+v", i, e)
		}
	}
	return wrong
}

func TestKept(t *testing.T) {
	for _, wrong := range kept(t, open(t)) {
		t.Error(wrong)
	}
}

func TestKeptMutant(t *testing.T) {
	d := openMutant(t)
	setMutant(t, d, 24)
	wrong := kept(t, d)
	t.Log(wrong)
	if len(wrong) != len(keptCases)-1 {
		t.Errorf("noticed in %d cases", len(wrong))
	}
}
