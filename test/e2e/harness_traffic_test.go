package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// traffic goes on all the time, until end: some that the policy shut8080 allows,
// some that it blocks.
type traffic struct {
	t    *testing.T
	lab  *lab
	stop chan struct{}
	done sync.WaitGroup

	blocked *flood // datagrams that must not come through
	kept    *pair  // a TCP connection that lives as long

	chats, asked, opened, queried atomic.Int64 // what came through, of what must
	repeated                      atomic.Int64 // datagrams that were lost and sent again
	failures                      atomic.Int64
	refused                       atomic.Int64 // connects that were refused, as they must
	leaked                        atomic.Int64 // connects that must not have succeeded

	mu    sync.Mutex
	first error
	leak  tuple // of a connect that must not have succeeded
}

func newTraffic(t *testing.T, l *lab) *traffic {
	t.Helper()
	at := func(h *host, port uint16) netip.AddrPort { return netip.AddrPortFrom(l.address(h, ipv4, 0), port) }
	f := &traffic{t: t, lab: l, stop: make(chan struct{})}
	f.blocked = l.flood(t, l.b, l.a, at(l.a, 8080))
	f.kept = l.connect(t, l.a, l.b, at(l.b, 9090))
	l.a.echoUDP(t, at(l.a, 9090))
	l.b.echoUDP(t, at(l.b, 9090))
	listener := l.b.listenTCP(t, netip.AddrPortFrom(l.address(l.b, ipv4, 1), 9090))
	shut := l.b.listenTCP(t, at(l.b, 8080))
	t.Cleanup(func() { listener.Close(); shut.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	outbound, inbound := l.a.dialUDP(t, at(l.b, 9090)), l.b.dialUDP(t, at(l.a, 9090))
	f.loop(time.Millisecond, func() error { return f.chat() })
	f.loop(time.Millisecond, func() error {
		f.asked.Add(1)
		return errors.Join(f.ask(func() error { return ask(outbound, 100, lostAfter) }), f.ask(func() error { return ask(inbound, 100, lostAfter) }))
	})
	// Conversations of one question each, from ports of their own.
	f.loop(5*time.Millisecond, func() error {
		c := l.a.dialUDP(t, at(l.b, 9090))
		defer c.Close()
		f.queried.Add(1)
		return f.ask(func() error { return ask(c, 50, lostAfter) })
	})
	f.loop(10*time.Millisecond, func() error {
		d := l.a.dialTCP(listener.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort(), patience)
		if d.err != nil {
			return fmt.Errorf("connect to what is allowed: %w", d.err)
		}
		f.opened.Add(1)
		return d.conn.Close()
	})
	f.loop(10*time.Millisecond, func() error {
		d := l.a.dialTCP(at(l.b, 8080), patience)
		if d.err == nil {
			f.leaked.Add(1)
			f.mu.Lock()
			f.leak = tuple{"tcp", d.source, at(l.b, 8080)}
			f.mu.Unlock()
			return errors.Join(fmt.Errorf("connected to what is blocked, at %s, from %v after %v", time.Now().UTC().Format(time.StampMicro), d.source, d.took), d.conn.Close())
		}
		f.refused.Add(1)
		return nil
	})
	return f
}

// lostAfter is when a datagram counts as lost: the machine may be busy.
const lostAfter = 5 * time.Second

// loop does something again and again, and keeps what went wrong first.
func (f *traffic) loop(pause time.Duration, do func() error) {
	f.done.Go(func() {
		for {
			select {
			case <-f.stop:
				return
			case <-time.After(pause):
			}
			if err := do(); err != nil {
				f.failures.Add(1)
				f.mu.Lock()
				if f.first == nil {
					f.first = err
				}
				f.mu.Unlock()
			}
		}
	})
}

// ask asks again where a datagram was lost, as whoever uses UDP has to.
func (f *traffic) ask(once func() error) error {
	var err error
	for try := range 3 {
		if err = once(); err == nil {
			return nil
		}
		if try == 0 {
			f.repeated.Add(1)
		}
	}
	return fmt.Errorf("ask three times: %w", err)
}

// chat sends a byte each way on the connection that lives as long as the traffic.
func (f *traffic) chat() error {
	for _, way := range [][2]interface {
		Write([]byte) (int, error)
		Read([]byte) (int, error)
		SetDeadline(time.Time) error
	}{{f.kept.client, f.kept.server}, {f.kept.server, f.kept.client}} {
		for _, end := range way {
			end.SetDeadline(time.Now().Add(patience))
		}
		_, err := way[0].Write([]byte{1})
		if err == nil {
			_, err = way[1].Read(make([]byte, 1))
		}
		if err != nil {
			return fmt.Errorf("the connection that was there before: %w", err)
		}
	}
	f.chats.Add(1)
	return nil
}

// end stops all but the kept connection. What went wrong is an error.
func (f *traffic) end() {
	f.t.Helper()
	close(f.stop)
	f.done.Wait()
	came := f.blocked.end()
	f.t.Logf("must pass: %d bytes each way on one connection, %d datagrams each way on two conversations, %d conversations of one datagram, %d connects; %d datagrams sent again; %d failures",
		f.chats.Load(), f.asked.Load(), f.queried.Load(), f.opened.Load(), f.repeated.Load(), f.failures.Load())
	f.t.Logf("must not pass: %d datagrams, of which %d came through; %d connects, of which %d succeeded",
		f.blocked.sent.Load(), came, f.refused.Load()+f.leaked.Load(), f.leaked.Load())
	if came > 0 || f.leaked.Load() > 0 || f.failures.Load() > 0 {
		f.t.Errorf("packets were misjudged; first: %v", f.first)
	}
	for what, n := range map[string]int64{
		"chats": f.chats.Load(), "datagrams": f.asked.Load(), "conversations": f.queried.Load(),
		"connects": f.opened.Load(), "refused connects": f.refused.Load(), "blocked datagrams": f.blocked.sent.Load(),
	} {
		if n == 0 {
			f.t.Errorf("there were no %s", what)
		}
	}
}
