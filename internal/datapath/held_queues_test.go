package datapath

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHeldQueues: of several threads that read each has the connections of its queue, with
// what both of their ends say.
func TestHeldQueues(t *testing.T) {
	const connections, rounds = 24, 3
	p := newPeer(t)
	type reader struct{ thread, queue int }
	read := map[reader]int{}
	ends := map[uint64][2]int{}
	d, j := holding(t, needsFacts, HoldConfig{Queues: 4}, func(j *judge, h *Held) {
		read[reader{unix.Gettid(), QueueOf(h.ID, 4)}]++
		seen := ends[h.ID]
		seen[h.End]++
		ends[h.ID] = seen
		allowed := j.verdict(h, 1)
		allowed.Done = false
		if results, err := j.d.Settle([]Settlement{allowed}); err != nil || results[0] != Settled {
			j.t.Error(results, err)
		}
		if err := j.d.Release(h.Take()); err != nil {
			j.t.Error(err)
		}
	})
	for range connections {
		client, accepted := dialled(t, p, "tcp4", false)
		server := <-accepted
		defer server.Close()
		for range rounds {
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				way[1].SetReadDeadline(time.Now().Add(5 * time.Second))
				way[0].Write([]byte("hello"))
				if _, err := io.ReadFull(way[1], make([]byte, 5)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	j.stop()
	threads, queues := map[int]bool{}, map[int]bool{}
	for r := range read {
		if threads[r.thread] || queues[r.queue] {
			t.Errorf("packets by thread and queue: %v", read)
		}
		threads[r.thread], queues[r.queue] = true, true
	}
	if len(queues) < 2 || len(ends) != connections {
		t.Errorf("%d connections in %d queues", len(ends), len(queues))
	}
	for id, seen := range ends {
		if seen[0] < rounds || seen[1] < rounds {
			t.Errorf("of connection %x %v packets were read", id, seen)
		}
	}
	if queues := len(d.hold.taps); queues != 4 {
		t.Errorf("%d queues", queues)
	}
}
