package engine

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/datapath"
)

// TestUnanswered: a connection in which something is blocked ends without the responses
// that are due before it where they do not come in time, or where the agent ends.
func TestUnanswered(t *testing.T) {
	for name, c := range map[string]struct {
		wait time.Duration
		then func(*Engine) error
	}{
		"no response":    {300 * time.Millisecond, func(*Engine) error { return nil }},
		"the agent ends": {time.Minute, (*Engine).stopHold},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoad(t, getsOnly, func(config *Config) { config.Inspect.MaxWait = c.wait })
			client, server := r.connect(t, 4, 80)
			client.say(0, []byte(get("/ok")+get("/no")))
			within(t, "the request that is allowed", func() bool { said, _ := server.heard(); return said == get("/ok") })
			if err := c.then(r.engine); err != nil {
				t.Fatal(err)
			}
			for end, p := range map[string]*peer{"client": client, "server": server} {
				within(t, "the end at the "+end, func() bool { _, reset := p.heard(); return reset })
			}
			if said, _ := server.heard(); said != get("/ok") {
				t.Errorf("the server heard %q", said)
			}
		})
	}
}

// TestBusy: a verdict that the kernel did not take, since packets of the connection were
// judged all the while, is written later.
func TestBusy(t *testing.T) {
	r := newRoad(t, getsOnly, func(config *Config) { config.Inspect.MaxWait = time.Minute })
	var refused atomic.Int32
	for _, l := range r.engine.looks.all {
		l.mu.Lock()
		l.put = func(list []datapath.Settlement) ([]datapath.SettleResult, error) {
			results := make([]datapath.SettleResult, len(list))
			for i := range list {
				if list[i].Judged && refused.Add(1) <= 3 {
					results[i] = datapath.SettledBusy
					continue
				}
				one, err := r.engine.data.Settle(list[i : i+1])
				if err != nil {
					return nil, err
				}
				results[i] = one[0]
			}
			return results, nil
		}
		l.mu.Unlock()
	}
	client, server := r.connect(t, 4, 80)
	client.say(0, []byte(get("/no")))
	for end, p := range map[string]*peer{"client": client, "server": server} {
		within(t, "the end at the "+end, func() bool { _, reset := p.heard(); return reset })
	}
	if said, _ := server.heard(); said != "" || refused.Load() <= 3 {
		t.Errorf("the server heard %q; %d times a verdict was to be written", said, refused.Load())
	}
	if s := r.engine.Stats().Inspect; s.Untaken["busy"] != 3 {
		t.Errorf("not taken: %v", s.Untaken)
	}
}
