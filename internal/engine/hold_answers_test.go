package engine

import (
	"strings"
	"testing"
)

// TestAnswersPass: responses to requests that were allowed do not wait, and are told all
// the same; each request is judged.
func TestAnswersPass(t *testing.T) {
	r := newRoad(t, getsOnly, nil)
	client, server := r.connect(t, 4, 80)
	server.set(func(p *peer) { p.answers = answersEach })
	sent := 0
	say := func(text string) { client.say(sent, []byte(text)); sent += len(text) }
	for n := range 5 {
		say(get("/ok"))
		within(t, "the answer", func() bool { got, _ := client.heard(); return got == strings.Repeat(answer, n+1) })
	}
	if n := r.engine.Stats().Packets["held_copied"]; n != 5 {
		t.Errorf("%d answers have passed, not 5", n)
	}
	say(get("/no"))
	within(t, "the end", func() bool { _, reset := client.heard(); return reset })
	if got, _ := server.heard(); strings.Contains(got, "/no") {
		t.Errorf("the server heard %q", got)
	}
	eventually(t, "a record of each answer", func() bool {
		r.told.mu.Lock()
		defer r.told.mu.Unlock()
		n := 0
		for _, x := range r.told.said {
			if x.HTTP != nil && x.HTTP.Status == 200 {
				n++
			}
		}
		return n == 5
	})
}
