package engine

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
)

// TestReload: what waits for a verdict when the engine gives way to another, and what
// comes in between, is judged by that one. Nothing has to be sent again: these clients
// never do.
func TestReload(t *testing.T) {
	r := newRoad(t, getsOnly, nil)
	half, behindHalf := r.connect(t, 4, 80)
	half.say(0, []byte(get("/ok")[:20]))
	bad, behindBad := r.connect(t, 6, 80)
	bad.say(0, []byte(get("/no")[:20]))
	between, behindBetween := r.connect(t, 4, 80)
	badBetween, behindBadBetween := r.connect(t, 6, 80)
	within(t, "what waits", func() bool { return r.engine.Stats().Hold.Packets == 2 })
	if err := r.engine.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	between.say(0, []byte(get("/ok")))
	badBetween.say(0, []byte(get("/no")))
	config := r.engine.config
	next, err := New(config, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	r.engine = next
	if err := next.Apply(2, load(t, getsOnly), nil); err != nil {
		t.Fatal(err)
	}
	if err := next.Start(Sink{Connections: r.told.take, Exchanges: r.told.takeExchanges}); err != nil {
		t.Fatal(err)
	}
	within(t, "what came in between", func() bool { said, _ := behindBetween.heard(); return said == get("/ok") })
	half.say(20, []byte(get("/ok")[20:]))
	bad.say(20, []byte(get("/no")[20:]))
	within(t, "what waited", func() bool { said, _ := behindHalf.heard(); return said == get("/ok") })
	for _, end := range []*peer{bad, badBetween} {
		within(t, "the end of what is blocked", func() bool { _, reset := end.heard(); return reset })
	}
	time.Sleep(pause)
	if behindBad.reached(bad) > 0 || behindBadBetween.reached(badBetween) > 0 {
		t.Error("something came of what is blocked")
	}
}
