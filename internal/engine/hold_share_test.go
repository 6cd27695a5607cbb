package engine

import (
	"fmt"
	"testing"
	"time"
)

// TestHeldShares: who has more wait than there is room for is answered by
// on_error.overload; who has little is not, and no more waits than may.
func TestHeldShares(t *testing.T) {
	for _, answer := range []string{"block", "allow"} {
		t.Run(answer, func(t *testing.T) {
			r := newRoad(t, fmt.Sprintf(`
mode: prevent
on_error: {overload: %s}
rules:
  - {name: secret, action: block, layer7: {http: {paths: /secret}}}
  - {name: rest, action: allow}
`, answer), func(c *Config) { c.Inspect.Queues = 1 })
			const most = 200 << 10
			l := r.engine.looks.all[0]
			l.mu.Lock()
			l.mostHeld = most
			l.mu.Unlock()
			modest, behind := r.connect(t, 6, 80)
			modest.say(0, []byte(get("/ok")[:10]))
			// Each byte is a packet: what they take is mostly not their bytes.
			const connections, bytes = 20, 100
			said := "GET /" + fmt.Sprintf("%0*d", bytes, 0)
			var greedy, behindGreedy [connections]*peer
			for i := range greedy {
				greedy[i], behindGreedy[i] = r.connect(t, 4, 80)
			}
			waits := func() (all int) {
				l.mu.Lock()
				defer l.mu.Unlock()
				for _, k := range l.holding {
					all += k.hold.bytes + (len(k.hold.waiting[0])+len(k.hold.waiting[1]))*heldOverhead
				}
				return all
			}
			highest := 0
			for at := range bytes {
				for i := range greedy {
					greedy[i].say(at, []byte(said[at:at+1]))
				}
				highest = max(highest, waits())
			}
			if highest > most {
				t.Errorf("%d bytes wait, of %d that may", highest, most)
			}
			within(t, "an answer for the greedy", func() bool {
				for i := range greedy {
					said, _ := behindGreedy[i].heard()
					if _, reset := greedy[i].heard(); answer == "block" && reset || answer == "allow" && said != "" {
						return true
					}
				}
				return false
			})
			time.Sleep(pause)
			if _, reset := modest.heard(); reset || behind.reached(modest) > 0 {
				t.Error("the modest source was answered as well")
			}
			modest.say(10, []byte(get("/ok")[10:]))
			within(t, "what the modest said", func() bool { said, _ := behind.heard(); return said == get("/ok") })
		})
	}
}
