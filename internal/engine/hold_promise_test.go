package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// pause is how long a test waits before it takes silence for the answer.
const pause = 20 * time.Millisecond

// TestNothingBeforeTheVerdict: no byte that a rule must judge, nor any after it,
// reaches the other side before the verdict, however it is sent. What is allowed comes
// as it was.
func TestNothingBeforeTheVerdict(t *testing.T) {
	for _, k := range riders(t) {
		t.Run(k.name, func(t *testing.T) {
			r := newRoad(t, k.policy(), nil)
			for _, s := range shapes {
				if s.opens && k.preface != "" {
					continue // a server has no say in its SYN
				}
				for _, version := range []int{4, 6} {
					t.Run(fmt.Sprintf("%s IPv%d", s.name, version), func(t *testing.T) {
						t.Parallel()
						r.ride(t, &k, &s, version, k.allowed, k.blocked, s.fails)
						r.ride(t, &k, &s, version, k.blocked, k.allowed, true)
					})
				}
			}
		})
	}
}

// ride has something said in a shape, and sees what comes of it.
func (r *road) ride(t *testing.T, k *rider, s *shape, version int, text, other string, isBlocked bool) {
	t.Helper()
	var client, server *peer
	if s.opens {
		client, server = r.peers(r.tuple(version, packet.TCP, k.port))
	} else {
		client, server = r.connect(t, version, k.port)
	}
	from, to := client, server
	if k.preface != "" {
		from, to = server, client
		client.say(0, []byte(k.preface))
		again := time.Now().Add(4 * pause)
		within(t, "what the client says first", func() bool {
			if time.Now().After(again) { // the device's queue may have been full
				again = time.Now().Add(4 * pause)
				client.say(0, []byte(k.preface))
			}
			said, _ := server.heard()
			return said == k.preface
		})
	}
	s.send(from, []byte(text), []byte(other), func() {
		t.Helper()
		time.Sleep(pause)
		if n := to.reached(from); n != 0 {
			t.Fatalf("%d bytes came before the verdict", n)
		}
	})
	if isBlocked {
		r.isCut(t, from, to, s, text)
		return
	}
	// What was dropped on the way, its sender sends again.
	again := time.Now().Add(4 * pause)
	within(t, "what is allowed", func() bool {
		if n := from.acknowledged(); time.Now().After(again) && n >= 0 && n < len(text) {
			again = time.Now().Add(4 * pause)
			from.say(n, []byte(text[n:]))
		}
		said, _ := to.heard()
		return said == text && from.acknowledged() == len(text)
	})
}

// isCut waits for the end of a connection of which nothing came.
func (r *road) isCut(t *testing.T, from, to *peer, s *shape, text string) {
	t.Helper()
	if !s.silent && !s.opens {
		again := time.Now().Add(4 * pause)
		within(t, "the end of what is blocked", func() bool {
			if time.Now().After(again) {
				again = time.Now().Add(4 * pause)
				from.say(0, []byte(text))
			}
			_, one := from.heard()
			_, other := to.heard()
			return one && other
		})
	}
	time.Sleep(pause)
	if n := to.reached(from); n > 0 {
		t.Errorf("%d bytes came of what is blocked", n)
	}
}
