package engine

import (
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/classifier"
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
	const connections, swaps = 8, 8
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
				for talks := range 25 {
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

// TestBetweenTwoPolicies: what the kernel takes out by a policy that it has already, and user
// space has not, waits for that: what it allows comes, and nothing of what it forbids.
func TestBetweenTwoPolicies(t *testing.T) {
	const (
		both   = "mode: prevent\non_error: {not_seen: block}\nrules: [{name: a, action: allow, layer7: {tls: [a.example, b.example]}}, {name: ok, action: allow, layer7: {http: {paths: [/ok, /no]}}}]\n"
		one    = "mode: prevent\non_error: {not_seen: block}\nrules: [{name: b, action: block, layer7: {tls: b.example}}, {name: a, action: allow, layer7: {tls: a.example}}, {name: ok, action: allow, layer7: {http: {paths: /ok}}}]\n"
		chosen = "\x17\x03\x03\x00\x04more"
	)
	certificate := newAuthority(t, "CA").issue(t, "a.example", -time.Hour, time.Hour)
	helloA, _ := greetings(t, &tls.Config{ServerName: "a.example"}, certificate)
	helloB, _ := greetings(t, &tls.Config{ServerName: "b.example"}, certificate)
	for _, reports := range []bool{false, true} {
		t.Run(fmt.Sprintf("reports %v", reports), func(t *testing.T) {
			r := newRoad(t, both, func(c *Config) {
				if !reports {
					c.Inspect.Report = Report{}
				}
			})
			open := func(port uint16, text string) *saying {
				client, server := r.connect(t, 4, port)
				server.set(func(p *peer) { p.answers = answersEach }) // else the end waits for that
				s := &saying{from: client, to: server}
				s.say(text)
				return s
			}
			all := []*saying{open(443, helloA), open(443, helloB), open(80, get("/ok")), open(80, get("/ok"))}
			arrive(t, all)
			next := load(t, one)
			tables, err := classifier.Compile(next, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			r.engine.looks.await(true)
			if _, err := r.engine.data.Swap(tables, 2, nil, nil); err != nil {
				t.Fatal(err)
			}
			before := len(helloB)
			for i, text := range []string{chosen, chosen, get("/ok"), get("/no")} {
				all[i].say(text)
			}
			time.Sleep(pause)
			for i, s := range all {
				if said, _ := s.to.heard(); said == s.said {
					t.Errorf("connection %d did not wait", i)
				}
			}
			if err := r.engine.Apply(3, next, nil); err != nil {
				t.Fatal(err)
			}
			arrive(t, []*saying{all[0], all[2]})
			for _, i := range []int{1, 3} {
				within(t, "the end of what is forbidden", func() bool { _, reset := all[i].from.heard(); return reset })
			}
			if reached := all[1].to.reached(all[1].from); reached > before {
				t.Errorf("%d bytes came behind the hello of a server that is forbidden now", reached-before)
			}
			if said, _ := all[3].to.heard(); said != get("/ok") {
				t.Errorf("%q came of a request that is forbidden now", said)
			}
		})
	}
}
