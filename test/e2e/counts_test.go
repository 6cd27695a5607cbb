package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBulk moves 20 MB each way with offloads on: the packets that Weir sees are
// superpackets of up to 64 KiB. What it counts is compared with what the socket
// on its host counted (see pair.counts), which is what would be on a wire.
func TestBulk(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := start(t, l.a, config{})
	for network, f := range families {
		for _, direction := range []string{"outbound", "inbound"} {
			from, to := l.a, l.b
			if direction == "inbound" {
				from, to = l.b, l.a
			}
			t.Run(fmt.Sprintf("%v/%s", f, direction), func(t *testing.T) {
				const size = 20 << 20
				p := l.connect(t, from, to, netip.AddrPortFrom(l.address(to, f, network), 5001))
				e := expectation{direction: direction, verdict: "detected", mode: "detect", end: "fin"}
				e.source, e.destination = p.exchange(t, size, size)
				w.expect(t, p.tuple, e)
				if e.source.bytes < size || e.destination.bytes < size {
					t.Errorf("%v, %v for %d bytes each way", e.source, e.destination, size)
				}
			})
		}
	}
}

// TestUDPCounts counts datagrams exactly: plain ones, fragmented ones, and those
// that a socket hands over as one superpacket (UDP_SEGMENT).
func TestUDPCounts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := start(t, l.a, config{})
	for _, f := range families {
		for _, direction := range []string{"outbound", "inbound"} {
			from, to := l.a, l.b
			if direction == "inbound" {
				from, to = l.b, l.a
			}
			t.Run(fmt.Sprintf("%v/%s", f, direction), func(t *testing.T) {
				t.Parallel()
				at := netip.AddrPortFrom(l.address(to, f, 0), 5001)
				echo := to.echoUDP(t, at)
				e := expectation{direction: direction, verdict: "detected", mode: "detect", end: "timeout"}
				c := from.dialUDP(t, at)
				const segments, size = 10, 1200
				raw, err := c.SyscallConn()
				if err == nil {
					err = errors.Join(raw.Control(func(fd uintptr) {
						err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size)
					}), err)
				}
				if err != nil {
					t.Fatal(err)
				}
				for range 5 {
					before := echo.received.Load()
					if _, err := c.Write(make([]byte, segments*size-100)); err != nil {
						t.Fatal(err)
					}
					await(t, "the datagrams", func() bool { return echo.received.Load() == before+segments })
					e.source.add(datagrams(f, segments-1, size))
					e.source.add(datagrams(f, 1, size-100)) // the last is what remains
				}
				e.destination = e.source
				w.expect(t, udpTuple(c), e)
			})
			t.Run(fmt.Sprintf("%v/%s/fragments", f, direction), func(t *testing.T) {
				t.Parallel()
				at := netip.AddrPortFrom(l.address(to, f, 1), 5002)
				to.echoUDP(t, at)
				e := expectation{direction: direction, verdict: "detected", mode: "detect", end: "timeout"}
				c := from.dialUDP(t, at)
				const size = 4000
				if err := ask(c, size, patience); err != nil {
					t.Fatal(err)
				}
				// An Ethernet frame carries 1500 bytes, and so after the headers a
				// multiple of 8: IPv4 1480, 1480, 1048; IPv6, whose fragment header
				// has 8 bytes, 1448, 1448, 1112.
				e.source = counts{3, 3*20 + 8 + size}
				if f == ipv6 {
					e.source = counts{3, 3*48 + 8 + size}
				}
				e.destination = e.source
				w.expect(t, udpTuple(c), e)
			})
		}
	}
}

// TestRefusedAtOnce measures how long a blocked connect() takes.
func TestRefusedAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	start(t, l.a, config{policy: string(newPolicy(t, "{mode: prevent, rules: [{name: a, action: allow, layer4: udp}]}"))})
	for _, f := range families {
		var took []time.Duration
		for range 5 {
			d := l.a.dialTCP(netip.AddrPortFrom(l.address(l.b, f, 0), 443), patience)
			if !errors.Is(d.err, unix.ECONNREFUSED) {
				t.Fatalf("connect: %v", d.err)
			}
			took = append(took, d.took)
		}
		// The first sends a SYN again after a second; the best of five is not the
		// machine's load.
		if best := slices.Min(took); best > 200*time.Millisecond {
			t.Errorf("%v: refused after %v", f, took)
		}
	}
}
