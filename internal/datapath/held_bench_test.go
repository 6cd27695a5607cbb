package datapath

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// heldWays are what BenchmarkHeld compares: nothing but an empty program, Weir
// without anything to hold, and a verdict from user space for each connection.
var heldWays = []struct {
	name   string
	policy string // empty: no Weir
}{
	{"empty", ""},
	{"layer4", "mode: prevent\nrules: [{name: all, action: allow}]"},
	{"held", needsFacts},
}

// BenchmarkHeld is the time from connecting to the response, and the rate of a long
// stream after the verdict, over a veth pair.
func BenchmarkHeld(b *testing.B) {
	for _, way := range heldWays {
		b.Run(way.name, func(b *testing.B) {
			p := newPeer(b)
			if way.policy == "" {
				attachEmpty(b)
			} else {
				holding(b, way.policy, HoldConfig{}, func(j *judge, h *Held) {
					j.list = nil
					if _, err := j.d.Settle([]Settlement{j.verdict(h, 1)}); err != nil {
						j.t.Error(err)
					}
					if err := j.d.Release(h.Packet()); err != nil {
						j.t.Error(err)
					}
				})
			}
			at := serveBench(b, p)
			var took []time.Duration
			ask := func() {
				began := time.Now()
				c, err := net.Dial("tcp4", at)
				if err != nil {
					b.Fatal(err)
				}
				c.Write(make([]byte, 200))
				if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
				c.Close()
			}
			for range 200 {
				ask()
			}
			took = took[:0]
			for b.Loop() {
				ask()
			}
			b.ReportMetric(median(took)/1000, "µs/first-response")
			const bulk = 256 << 20
			c, err := net.Dial("tcp4", at)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			began := time.Now()
			block := make([]byte, 1<<20)
			for range bulk / len(block) {
				c.Write(block)
			}
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
			b.ReportMetric(float64(bulk)/time.Since(began).Seconds()/1e6, "MB/s-bulk")
		})
	}
}

func attachEmpty(b *testing.B) {
	b.Helper()
	l, err := netlink.LinkByName(near)
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range []side{ingressSide, egressSide} {
		hook, err := link.AttachTCX(link.TCXOptions{Interface: l.Attrs().Index, Program: emptyProgram(b), Attach: s.tcx})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { hook.Close() })
	}
}

// serveBench answers the first bytes of each connection, and swallows the rest.
func serveBench(b *testing.B, p *peer) string {
	b.Helper()
	var listener net.Listener
	var err error
	p.in(func() { listener, err = net.Listen("tcp4", "10.98.0.2:0") })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, 200)); err == nil {
					c.Write(make([]byte, 100))
				}
				io.Copy(io.Discard, c)
			}()
		}
	}()
	return listener.Addr().String()
}
