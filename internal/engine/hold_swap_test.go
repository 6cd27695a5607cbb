package engine

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// strictly is the rider's policy, by which nothing is kept that was not seen, in two
// forms that say the same.
func (k *rider) strictly() [2]string {
	const strict = "on_error: {not_seen: block}\n"
	return [2]string{
		k.policy() + strict,
		strings.Replace(k.policy(), "rules: [", "rules: [{name: none, action: block, layer4: {tcp: 9}}, ", 1) + strict,
	}
}

// saying is what a client says in a connection that is allowed.
type saying struct {
	from, to *peer
	said     string
}

// say goes on with it.
func (s *saying) say(text string) {
	s.from.say(len(s.said), []byte(text))
	s.said += text
}

// hasCome says whether all came. What was dropped on the way is sent again.
func (s *saying) hasCome(again *time.Time) bool {
	said, reset := s.to.heard()
	if n := max(0, s.from.acknowledged()); time.Now().After(*again) && n < len(s.said) {
		*again = time.Now().Add(4 * pause)
		s.from.say(n, []byte(s.said[n:]))
	}
	return reset || said == s.said && s.from.acknowledged() == len(s.said)
}

// TestSwaps: connections that are allowed go on whatever many policies come into force that
// allow them too, although what each of them asks for is not seen again.
func TestSwaps(t *testing.T) {
	const connections, swaps = 16, 25
	for _, k := range riders(t) {
		t.Run(k.name, func(t *testing.T) {
			texts := k.strictly()
			r := newRoad(t, texts[0], func(c *Config) { c.Inspect.Report = Report{} })
			policies := [2]*policy.Policy{load(t, texts[0]), load(t, texts[1])}
			var streams []*saying
			for i := range connections {
				client, server := r.connect(t, 4+i%2*2, k.port)
				s := &saying{from: client, to: server}
				if k.preface != "" {
					client.say(0, []byte(k.preface))
					s.from, s.to = server, client
					within(t, "what the client says first", func() bool { said, _ := server.heard(); return said == k.preface })
				}
				s.say(k.allowed)
				streams = append(streams, s)
			}
			arrive(t, streams)
			more := "more of it"
			if k.port == 80 || k.port == 53 {
				more = k.allowed // each request is judged
			}
			for n := range swaps {
				var swapping sync.WaitGroup
				swapping.Go(func() {
					if err := r.engine.Apply(uint64(2+n), policies[(n+1)%2], nil); err != nil {
						t.Error(err)
					}
				})
				for talks := range 40 {
					for i, s := range streams {
						if i%4 != 0 || n%5 == 4 && talks == 0 { // some are idle most of the time
							s.say(more)
						}
					}
					time.Sleep(time.Millisecond)
				}
				swapping.Wait()
				arrive(t, streams)
			}
		})
	}
}

// arrive waits until all came that was said.
func arrive(t *testing.T, streams []*saying) {
	t.Helper()
	again := make([]time.Time, len(streams))
	for i := range again {
		again[i] = time.Now().Add(4 * pause)
	}
	within(t, "what is allowed", func() bool {
		all := true
		for i, s := range streams {
			all = s.hasCome(&again[i]) && all
		}
		return all
	})
	var cut []string
	for i, s := range streams {
		if _, reset := s.to.heard(); reset {
			cut = append(cut, fmt.Sprint(i))
		}
	}
	if len(cut) > 0 {
		t.Fatalf("connections %v were cut", cut)
	}
}
