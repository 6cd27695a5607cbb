package e2e

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHoldAgentDown: when the agent is stopped or killed amid a thousand connections,
// what waits for it is answered as on_error says within a second, those that are
// decided do not notice, and when it is back all is as before.
func TestHoldAgentDown(t *testing.T) {
	for _, answer := range []string{"block", "allow"} {
		for name, signal := range map[string]unix.Signal{"stopped": unix.SIGSTOP, "killed": unix.SIGKILL} {
			t.Run(name+" "+answer, func(t *testing.T) {
				l := newLab(t)
				w := start(t, l.a, config{policy: string(newPolicy(t, fmt.Sprintf(holdPaths, answer))), receiver: "on_shutdown: keep\ninspect: {max_wait: 1m}"})
				c := l.newCrowd(t)
				stop, chatted := make(chan struct{}), make(chan struct{})
				go func() { defer close(chatted); c.chat(t, stop) }()
				// Not all is in the records: those of the dead are lost, and what passed without
				// it is not known of.
				w.mayFail, w.partial = true, true
				if signal == unix.SIGKILL {
					w.kill(t)
				} else {
					w.signal(t, signal)
				}
				down := time.Now()
				for i := range crowdEach {
					c.busy[i].ask()
					c.fresh[i].ask()
				}
				time.Sleep(time.Until(down.Add(time.Second)))
				c.askNew(t, answer, "/ok/page", "/no/page")
				if answer == "allow" {
					// What came before is sent again: by Linux 1.4 s after the first time, or 3 s.
					await(t, "answers to all that waited", func() bool {
						return answeredWith(c.busy, "/ok/second") == crowdEach && answeredWith(c.fresh, "/ok/page")+answeredWith(c.fresh, "/no/page") == crowdEach
					})
					t.Logf("what waited when it went down was answered within %v", time.Since(down))
				} else if n := answeredWith(c.busy, "/ok/second") + answeredWith(c.fresh, "/ok/page") + answeredWith(c.fresh, "/no/page"); n > 0 {
					t.Errorf("%d requests were answered while nobody judged them", n)
				}
				if signal == unix.SIGKILL {
					w.restart(t)
				} else {
					w.signal(t, unix.SIGCONT)
				}
				back := time.Now()
				if answer == "block" {
					// What nobody judged waits at its sender, and is judged now.
					awaitOr(t, func() bool {
						return answeredWith(c.busy, "/ok/second") == crowdEach && answeredWith(c.fresh, "/ok/page") == crowdEach/2 && isOver(c.fresh, "/no/page")
					}, func() {
						t.Errorf("of %d requests in connections that had some before %d were answered, of %d first ones %d; of those that are forbidden %d, all are over: %t",
							crowdEach, answeredWith(c.busy, "/ok/second"), crowdEach/2, answeredWith(c.fresh, "/ok/page"), answeredWith(c.fresh, "/no/page"), isOver(c.fresh, "/no/page"))
						close(stop)
						<-chatted
					})
					if n := answeredWith(c.fresh, "/no/page"); n > 0 {
						t.Errorf("%d requests that are forbidden were answered", n)
					}
				}
				await(t, "judgement again", func() bool {
					good, _ := getPage(l.a, c.http, "/ok/page")
					bad, err := getPage(l.a, c.http, "/no/page")
					return good == 200 && (err != nil || bad == 0)
				})
				t.Logf("all was as before within %v", time.Since(back))
				close(stop)
				<-chatted
			})
		}
	}
}
