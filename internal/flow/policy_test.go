package flow_test

import (
	"testing"
	"time"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

const prevent = "mode: prevent\n"

func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		name, text string
		verdict    flow.Verdict
		action     flow.Action
		reason     flow.Reason
		result     flow.Result
		ends       []flow.End
	}{
		{"no rules", "", flow.Detected, flow.NoAction, flow.ReasonNone, flow.Result{}, nil},
		{"no rules, prevent", prevent, flow.Allowed, flow.NoAction, flow.ReasonNone, flow.Result{}, nil},
		{"detect", "rules: [{name: b, action: block}]", flow.Detected, flow.Block, flow.ReasonRule, flow.Result{}, nil},
		{"allowed", prevent + "rules: [{name: a, action: allow}]", flow.Allowed, flow.Allow, flow.ReasonRule, flow.Result{}, nil},
		{
			"rejected", prevent + "rules: [{name: b, action: block}]", flow.Blocked, flow.Block, flow.ReasonRule,
			flow.Result{Drop: true, Answer: flow.RejectSender},
			[]flow.End{flow.EndBlocked},
		},
		{
			"silent", prevent + "reject: never\nrules: [{name: b, action: block}]", flow.Blocked, flow.Block, flow.ReasonRule,
			flow.Result{Drop: true},
			nil,
		},
		{
			"silent by the rule", prevent + "rules: [{name: b, action: block, reject: false}]", flow.Blocked, flow.Block, flow.ReasonRule,
			flow.Result{Drop: true},
			nil,
		},
		{
			"default", prevent + "rules: [{name: a, action: allow, layer4: udp}]", flow.Blocked, flow.Block, flow.ReasonDefault,
			flow.Result{Drop: true, Answer: flow.RejectSender},
			[]flow.End{flow.EndBlocked},
		},
		{
			"undecided", "rules: [{name: a, action: allow, layer7: {tls: [example.com]}}, {name: b, action: block}]",
			flow.Detected, flow.NoAction, flow.ReasonPending,
			flow.Result{},
			nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.text)
			result := w.send(c(syn, client, 0, 0), c(syn, client, 0, 0))
			w.ends(1, test.ends...)
			e := w.events[0]
			if e.Verdict != test.verdict || e.Action != test.action || e.Reason != test.reason || result != test.result {
				t.Errorf("%+v, result %+v", e, result)
			}
			totals := w.Verdicts()
			if len(totals) != 1 || totals[0].Count != 1 || totals[0].Verdict != test.verdict || totals[0].Direction != packet.Outbound {
				t.Errorf("totals %+v", totals)
			}
		})
	}
}

// Silently blocked connections end when nobody tries any more.
func TestBlockedEnds(t *testing.T) {
	w := newWorld(t, prevent+"reject: never\nrules: [{name: b, action: block}]")
	w.send(c(syn, client, 0, 0))
	w.wait(limits.TCPClosing + time.Second)
	w.sweep()
	w.ends(1, flow.EndBlocked)
}

func TestPolicySwap(t *testing.T) {
	const allow, block = prevent + "rules: [{name: a, action: allow}]", prevent + "rules: [{name: b, action: block}]"
	for _, test := range []struct {
		name   string
		text   string
		first  []segment
		then   []segment
		result flow.Result
		ends   []flow.End
	}{
		{"cut", block, open(), []segment{c(ack, clientNext, serverNext, 10)}, flow.Result{Drop: true, Answer: flow.ResetBoth}, []flow.End{flow.EndPolicy}},
		{
			"cut at an RST, which is no packet to answer", block, open(),
			[]segment{c(rst, clientNext+9, 0, 0), s(ack, serverNext, clientNext, 5)},
			flow.Result{Drop: true, Answer: flow.ResetBoth},
			[]flow.End{flow.EndPolicy},
		},
		{
			"cut silently", prevent + "reject: never\nrules: [{name: b, action: block}]", open(),
			[]segment{c(ack, clientNext, serverNext, 10)},
			flow.Result{Drop: true},
			nil,
		},
		{
			"cut before data", block, handshake,
			[]segment{c(ack, client+1, server+1, 10)},
			flow.Result{Drop: true, Answer: flow.RejectSender},
			[]flow.End{flow.EndPolicy},
		},
		{"the same again", allow, open(), []segment{c(ack, clientNext, serverNext, 10)}, flow.Result{}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, allow)
			w.send(test.first...)
			w.swap(test.text)
			if got := w.send(test.then...); got != test.result {
				t.Errorf("result %+v, want %+v", got, test.result)
			}
			w.ends(1, test.ends...)
			verdicts := w.of(flow.EventVerdict)
			if changed := test.text != allow; (len(verdicts) == 1) != changed {
				t.Errorf("verdicts %+v", verdicts)
			}
			w.wait(limits.TCP + time.Second)
			w.sweep()
			w.consistent()
			if end := w.of(flow.EventEnd)[0]; test.text != allow && end.End != flow.EndPolicy {
				t.Errorf("end %+v", end)
			}
		})
	}
}

func TestDuration(t *testing.T) {
	w := newWorld(t, prevent+"rules: [{name: long, action: block, layer4: {tcp: {duration: {over: 1m}}}}, {name: a, action: allow}]")
	w.send(open()...)
	began := w.events[0].First
	w.now = began + int64(time.Minute)
	if r := w.send(c(ack, clientNext, serverNext, 10)); r.Drop {
		t.Error("cut at one minute, not over it")
	}
	if r := w.send(s(ack, serverNext, clientNext+10, 10)); !r.Drop || r.Answer != flow.ResetBoth {
		t.Errorf("not cut: %+v", r)
	}
	w.ends(1, flow.EndDuration)
	if v := w.of(flow.EventVerdict); len(v) != 1 || v[0].Verdict != flow.Blocked || v[0].End != flow.EndDuration {
		t.Errorf("verdicts %+v", v)
	}
	if m := w.Matches(); m[len(m)-2] != 1 || m[len(m)-1] != 1 {
		t.Errorf("matches %v", m)
	}
}

// TestDurationOfEarlierPolicy: the time of a duration rule comes under the next
// policy, by which another rule cuts.
func TestDurationOfEarlierPolicy(t *testing.T) {
	w := newWorld(t, prevent+"rules: [{name: long, action: block, layer4: {tcp: {duration: {over: 1m}}}}, {name: a, action: allow}]")
	w.send(open()...)
	w.swap(prevent + "rules: [{name: b, action: block}]")
	w.wait(2 * time.Minute)
	if r := w.send(c(ack, clientNext, serverNext, 10)); !r.Drop {
		t.Error("not cut")
	}
	if v := w.of(flow.EventVerdict); len(v) != 1 || v[0].End != flow.EndPolicy {
		t.Errorf("verdicts %+v", v)
	}
}

func TestShadowRules(t *testing.T) {
	w := newWorld(t, prevent+"rules: [{name: s, mode: detect, action: block}, {name: u, mode: detect, action: allow}, {name: a, action: allow}]")
	w.send(c(syn, client, 0, 0))
	e := w.events[0]
	walked := uint32(len(w.Matches()))
	if e.Verdict != flow.Allowed || e.Rule != walked-1 || e.ShadowRule != walked-3 || e.ShadowAction != flow.Block {
		t.Errorf("%+v", e)
	}
	w.swap(prevent + "rules: [{name: u, mode: detect, action: allow}, {name: a, action: allow}]")
	w.send(s(syn|ack, server, client+1, 0))
	w.see(datagram(5), out)
	if e := w.events[len(w.events)-1]; e.ShadowAction != flow.NoAction || e.ShadowRule != flow.NoRule {
		t.Errorf("agreed: %+v", e)
	}
	if m := w.Matches(); m[len(m)-2] != 1 || m[len(m)-1] != 1 {
		t.Errorf("matches %v: the shadow rule that agrees is counted", m)
	}
}

func TestSafeguards(t *testing.T) {
	w := newWorld(t, prevent+"default_action: block\nrules: [{name: b, action: block}]")
	loopback, own := out, out
	loopback.Loopback, own.OwnProcess = true, true
	for _, h := range []flow.Hook{loopback, own} {
		w.now += 1
		p := datagram(5)
		p.SourcePort += uint16(w.now)
		if w.see(p, h).Drop {
			t.Errorf("dropped at %+v", h)
		}
	}
	if !w.see(datagram(5), out).Drop {
		t.Error("passed")
	}
}

// What was held waits no longer when a policy comes that only detects, also where that has
// no rules: data before the SYN is answered passes.
func TestNothingWaitsInDetectMode(t *testing.T) {
	const pending = "rules: [{name: a, action: allow, layer7: {tls: [example.com]}}]"
	for _, then := range []string{"mode: detect", pending, "default_action: block"} {
		w := newWorld(t, prevent+pending)
		w.SetHold(flow.Hold{On: true})
		w.send(c(syn, client, 0, 0))
		if result := w.send(s(ack, server, clientNext, 10)); !result.Drop {
			t.Errorf("held: %+v", result)
		}
		w.swap(then)
		if result := w.send(s(ack, server, clientNext, 10)); result != (flow.Result{}) {
			t.Errorf("after %q: %+v", then, result)
		}
	}
}
