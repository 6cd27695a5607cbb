package datapath

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// answering is a connection whose first request was let go, and whose answers pass.
type answering struct {
	t              *testing.T
	d              *Datapath
	j              *judge
	first          Held
	client, server net.Conn
}

func newAnswering(t *testing.T, network string, inbound bool) *answering {
	p := newPeer(t)
	d, j := holding(t, needsFacts, HoldConfig{}, nil)
	client, accepted := dialled(t, p, network, inbound)
	a := &answering{t: t, d: d, j: j, client: client, server: <-accepted}
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

// come waits for so many packets in all, and returns the last.
func (a *answering) come(n int) Held {
	a.t.Helper()
	return a.j.wait(fmt.Sprintf("packet %d", n), func(l []Held) bool { return len(l) >= n })[n-1]
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
				if h := a.come(2); !h.Copied || h.End != 1 || string(h.Payload) != "answer" || h.Acked[1] != h.Ack {
					t.Errorf("a copy: %+v", h)
				}
				if n := counter(t, a.d, "held_copied"); n != 1 {
					t.Errorf("%d are counted", n)
				}
				a.client.Write([]byte("second"))
				if wrong := a.hears(a.server, ""); wrong != "" {
					t.Error(wrong)
				}
				if h := a.come(3); h.Copied || string(h.Payload) != "second" {
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
	a.j.mu.Lock()
	came := len(a.j.list)
	a.j.mu.Unlock()
	a.server.Write([]byte("more"))
	wrong = a.hears(a.client, "")
	if h := a.come(came + 1); h.Copied {
		wrong += fmt.Sprintf("Not held: %+v.", h)
	}
	return wrong
}

// TestAnswersQueueFull: an answer that user space cannot have a copy of does not arrive
// either, and is sent again: user space misses none.
func TestAnswersQueueFull(t *testing.T) {
	a := newAnswering(t, "tcp4", false)
	l, err := netlink.LinkByName(tapName)
	if err == nil {
		err = netlink.LinkSetTxQLen(l, 2)
	}
	if err != nil {
		t.Fatal(err)
	}
	const answers = 100
	a.j.mu.Lock() // what reads is stuck
	for range answers {
		if _, err := a.server.Write([]byte("answer")); err != nil {
			t.Error(err)
		}
		time.Sleep(100 * time.Microsecond) // for each to be a packet
	}
	failed := counter(t, a.d, "held_copy_failed")
	a.j.mu.Unlock()
	if failed == 0 {
		t.Error("the queue was never full")
	}
	if wrong := a.hears(a.client, strings.Repeat("answer", answers)); wrong != "" {
		t.Error(wrong)
	}
	seen := map[uint32]byte{}
	end := a.j.wait("copies", func(l []Held) bool {
		for _, h := range l {
			for i, b := range h.Payload {
				if h.End == 1 {
					seen[h.Seq+uint32(i)] = b
				}
			}
		}
		return len(seen) >= 6*answers
	})
	if len(seen) != 6*answers {
		t.Errorf("%d bytes in %d packets", len(seen), len(end))
	}
}
