package engine

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/weirnet/weir/internal/datapath"
)

// TestHeldBeforeThePolicy: what is held while the policy that asks for it comes into
// force is judged by it, and not by the one before, or by none.
func TestHeldBeforeThePolicy(t *testing.T) {
	r := newRoad(t, "mode: prevent\nrules: [{name: secret, action: block, layer7: {http: {paths: /secret}}}, {name: rest, action: allow}]\n", nil)
	good, behindGood := r.connect(t, 4, 80)
	bad, behindBad := r.connect(t, 4, 80)
	if err := r.engine.Apply(2, load(t, getsOnly), nil); err != nil {
		t.Fatal(err)
	}
	r.engine.looks.await(true)
	good.say(0, []byte(get("/ok")))
	bad.say(0, []byte(get("/no")))
	time.Sleep(pause)
	if behindGood.reached(good) > 0 || behindBad.reached(bad) > 0 {
		t.Fatal("something came before there was a policy")
	}
	r.engine.looks.await(false)
	within(t, "what is allowed", func() bool { said, _ := behindGood.heard(); return said == get("/ok") })
	time.Sleep(pause)
	if n := behindBad.reached(bad); n > 0 {
		t.Errorf("%d bytes came of what is blocked", n)
	}
}

// TestHeldWithoutAPolicy: what is held, by the policy that an earlier process left in the
// kernel, by an engine that ends before it has one itself, does not pass; and the policy
// stays.
func TestHeldWithoutAPolicy(t *testing.T) {
	r, a := killable(t, getsOnly)
	good, behindGood := r.connect(t, 4, 80)
	bad, behindBad := r.connect(t, 6, 80)
	a.kill()
	e, err := New(roadConfig(), zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.beginHold(load(t, getsOnly)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		good.say(0, []byte(get("/ok")))
		bad.say(0, []byte(get("/no")))
		time.Sleep(pause)
	}
	if err := e.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	datapath.CloseParked()
	time.Sleep(pause)
	if behindGood.reached(good) > 0 || behindBad.reached(bad) > 0 {
		t.Error("something came before there was a policy")
	}
	a = startAgent(t, getsOnly)
	a.inForce(t)
	if !(&saying{from: good, to: behindGood}).goesOn(t, get("/ok")) {
		t.Error("what is allowed did not come")
	}
	if (&saying{from: bad, to: behindBad}).goesOn(t, get("/no")) {
		t.Error("what is forbidden came")
	}
}
