package e2e

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// flood sends datagrams from many ports of one host to another, without end.
type flood struct {
	sent, received atomic.Int64
	stop           chan struct{}
	done           sync.WaitGroup
}

func (l *lab) flood(t *testing.T, from, to *host, at netip.AddrPort) *flood {
	t.Helper()
	f := &flood{stop: make(chan struct{})}
	var server *net.UDPConn
	var err error
	to.run(func() { server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) })
	if err != nil {
		t.Fatal(err)
	}
	f.done.Add(2)
	go func() {
		defer f.done.Done()
		buffer := make([]byte, 100)
		for {
			if _, err := server.Read(buffer); err != nil {
				return
			}
			f.received.Add(1)
		}
	}()
	clients := make([]*net.UDPConn, 50)
	for i := range clients {
		clients[i] = from.dialUDP(t, at)
	}
	go func() {
		defer f.done.Done()
		defer server.Close()
		for i := 0; ; i++ {
			select {
			case <-f.stop:
				return
			default:
			}
			if _, err := clients[i%len(clients)].Write([]byte("flood")); err == nil {
				f.sent.Add(1) // else an answer to an earlier one was waiting
			}
			if i%20 == 0 {
				time.Sleep(5 * time.Millisecond) // the machine is not the test's alone
			}
		}
	}()
	return f
}

// await waits until so many more were sent.
func (f *flood) await(t *testing.T, more int64) {
	t.Helper()
	until := f.sent.Load() + more
	await(t, "the flood to go on", func() bool { return f.sent.Load() >= until })
}

// end stops it and returns how many came through.
func (f *flood) end() int64 {
	close(f.stop)
	f.done.Wait()
	return f.received.Load()
}
