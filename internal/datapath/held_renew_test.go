package datapath

import (
	"fmt"
	"strings"
	"testing"
)

// TestHeldWindowRenewed: user space is told of the first segment in the second half of a
// window that it wants to move on, and of no other; all of it passes. Where it moves it in
// time nothing waits.
func TestHeldWindowRenewed(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		for _, inbound := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s inbound %v", network, inbound), func(t *testing.T) {
				a := newAnswering(t, network, inbound)
				window := func(from uint32, renews bool) {
					s := a.settlement()
					s.AnswersPass = false
					s.Windows[0].From, s.Windows[0].Until, s.Windows[0].Renews = from, from+1000, renews
					if r := settle(t, a.d, s); r != Settled {
						t.Fatal(r)
					}
				}
				pass := func(n int) {
					t.Helper()
					part := strings.Repeat("b", n)
					a.client.Write([]byte(part))
					if wrong := a.hears(a.server, part); wrong != "" {
						t.Fatal(wrong)
					}
				}
				// What follows the request is in the window.
				body := a.first.Seq + uint32(len(a.first.Payload))
				window(body, true)
				pass(400)
				pass(100)
				pass(100) // half of it is used
				if h := a.copied(1); !h.Held || h.End != 0 || h.Seq != body+500 || h.Missing != 100 {
					t.Errorf("a copy: %+v", h)
				}
				pass(100)
				window(body+500, true)
				pass(300)
				pass(100)
				if h := a.copied(2); h.Seq != body+1000 || h.Missing != 100 {
					t.Errorf("a copy: %+v", h)
				}
				window(body+1000, false)
				pass(900)
				a.client.Write([]byte("behind"))
				if h := a.come(2); string(h.Payload) != "behind" {
					t.Errorf("what lies behind: %+v", h)
				}
				if n := counter(t, a.d, "held"); n != 2 {
					t.Errorf("%d were held", n)
				}
				a.copies.mu.Lock()
				defer a.copies.mu.Unlock()
				if n := len(a.copies.list); n != 2 {
					t.Errorf("%d copies", n)
				}
			})
		}
	}
}
