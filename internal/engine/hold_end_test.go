package engine

import (
	"testing"
	"time"
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
