package datapath

import (
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// answering is a connection whose first request was let go, and whose answers pass.
type answering struct {
	t              *testing.T
	d              *Datapath
	j              *judge
	copies         *copies
	first          Held
	client, server net.Conn
}

func newAnswering(t *testing.T, network string, inbound bool) *answering {
	p := newPeer(t)
	d, j := holding(t, needsFacts, HoldConfig{}, nil)
	client, accepted := dialled(t, p, network, inbound)
	a := &answering{t: t, d: d, j: j, copies: readCopies(t, d), client: client, server: <-accepted}
	t.Cleanup(func() { a.server.Close() })
	client.Write([]byte("request"))
	a.first = j.wait("request", func(l []Held) bool { return len(l) > 0 })[0]
	if r := settle(t, d, a.settlement()); r != Settled {
		t.Fatal(r)
	}
	j.release()
	a.hears(a.server, "request")
	return a
}

func (a *answering) settlement() Settlement {
	s := a.j.verdict(&a.first, 1)
	s.Done, s.AnswersPass, s.Windows = false, true, [2]*Window{{Credit: 1 << 20}, {Credit: 1 << 20}}
	return s
}

// hears says what comes, if it is not what should.
func (a *answering) hears(c net.Conn, want string) (wrong string) {
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if want == "" {
		c.SetReadDeadline(time.Now().Add(soon))
	}
	got := make([]byte, max(len(want), 1))
	n, err := io.ReadFull(c, got)
	if string(got[:n]) != want || want != "" && err != nil {
		return fmt.Sprintf("It heard %q, not %q (%v). ", got[:n], want, err)
	}
	return ""
}

// come waits for so many packets that wait, in all, and returns the last.
func (a *answering) come(n int) Held {
	a.t.Helper()
	return a.j.wait(fmt.Sprintf("packet %d", n), func(l []Held) bool { return len(l) >= n })[n-1]
}

// copied is come, of copies of packets that have passed.
func (a *answering) copied(n int) Copy {
	a.t.Helper()
	return a.copies.wait(fmt.Sprintf("copy %d", n), func(l []Copy) bool { return len(l) >= n })[n-1]
}

// TestHeldAnswers: answers that nobody judges arrive at once, and user space has a copy
// of each; requests wait as before, and answers do when another policy comes.
func TestHeldAnswers(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		for _, inbound := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s inbound %v", network, inbound), func(t *testing.T) {
				a := newAnswering(t, network, inbound)
				a.server.Write([]byte("answer"))
				if wrong := a.hears(a.client, "answer"); wrong != "" {
					t.Fatal(wrong)
				}
				if h := a.copied(1); !h.Held || h.End != 1 || string(h.Payload) != "answer" || h.Acked[1] != h.Ack {
					t.Errorf("a copy: %+v", h)
				}
				if n := counter(t, a.d, "held_copied"); n != 1 {
					t.Errorf("%d are counted", n)
				}
				a.client.Write([]byte("second"))
				if wrong := a.hears(a.server, ""); wrong != "" {
					t.Error(wrong)
				}
				if h := a.come(2); string(h.Payload) != "second" {
					t.Errorf("a request: %+v", h)
				}
				if wrong := answersWait(a); wrong != "" {
					t.Error(wrong)
				}
			})
		}
	}
}

// answersWait: after another policy has come an answer waits.
func answersWait(a *answering) (wrong string) {
	swap(a.t, a.d, load(a.t, needsFacts))
	seen := func() (held []Held, copied int) {
		a.j.mu.Lock()
		defer a.j.mu.Unlock()
		a.copies.mu.Lock()
		defer a.copies.mu.Unlock()
		return a.j.list, len(a.copies.list)
	}
	held, copied := seen()
	before := len(held)
	a.server.Write([]byte("more"))
	wrong = a.hears(a.client, "")
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		held, now := seen()
		switch {
		case now > copied:
			return wrong + "It has passed, with a copy."
		case len(held) > before && (held[before].End != 1 || string(held[before].Payload) != "more"):
			return wrong + fmt.Sprintf("Held is %+v.", held[before])
		case len(held) > before:
			return wrong
		}
	}
	return wrong + "It does not come."
}

// TestAnswersQueueFull: an answer that user space cannot have a copy of does not arrive
// either, and is sent again: user space misses none.
func TestAnswersQueueFull(t *testing.T) {
	a := newAnswering(t, "tcp4", false)
	s := a.settlement()
	s.Windows[1].Credit = MaxCredit
	if r := settle(t, a.d, s); r != Settled {
		t.Fatal(r)
	}
	const bytes = 24 << 20 // the ring buffer has 16
	a.copies.mu.Lock()     // what reads is stuck
	go a.server.Write(make([]byte, bytes))
	came := make(chan int64, 1)
	go func() {
		n, _ := io.CopyN(io.Discard, a.client, bytes)
		came <- n
	}()
	for until := time.Now().Add(10 * time.Second); counter(t, a.d, "held_copy_failed") == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the queue is never full")
		}
	}
	select {
	case n := <-came:
		t.Errorf("all of the %d bytes have passed", n)
	case <-time.After(soon):
	}
	a.copies.mu.Unlock()
	select {
	case n := <-came:
		if n != bytes {
			t.Errorf("%d bytes have come", n)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the rest does not come")
	}
	a.copies.wait("copy of the last byte", func(l []Copy) bool {
		// Segments that are sent again may be cut in other places.
		l = slices.SortedFunc(slices.Values(l), func(a, b Copy) int { return int(int32(a.Seq - b.Seq)) })
		from, next := l[0].Seq, l[0].Seq
		for _, c := range l {
			if after := c.Seq + uint32(len(c.Payload)); int32(c.Seq-next) <= 0 && int32(after-next) > 0 {
				next = after
			}
		}
		return next-from == bytes
	})
}
