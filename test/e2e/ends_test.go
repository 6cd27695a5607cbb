package e2e

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEnds: ways in which a connection ends, other than in order.
func TestEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	// Long enough that nothing ends by it that is under way, on a busy machine either.
	w := start(t, l.a, config{timeouts: "{tcp: 6s, tcp_closing: 6s}"})
	watched := expectation{verdict: "detected", mode: "detect"}
	for _, f := range families {
		for _, direction := range []string{"outbound", "inbound"} {
			from, to := l.a, l.b
			if direction == "inbound" {
				from, to = l.b, l.a
			}
			e := watched
			e.direction = direction
			at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(l.address(to, f, 0), port) }
			header := int64(20)
			if f == ipv6 {
				header = 40
			}
			name := f.String() + "/" + direction
			t.Run(name+"/refused by the peer", func(t *testing.T) {
				t.Parallel()
				d := from.dialTCP(at(9), patience)
				e := e
				e.end, e.source, e.destination = "rst", d.syn(f), counts{1, header + 20}
				w.expect(t, tuple{"tcp", d.source, at(9)}, e)
			})
			t.Run(name+"/reset", func(t *testing.T) {
				t.Parallel()
				p := l.connect(t, from, to, at(10))
				p.chat(t)
				p.client.SetLinger(0)
				p.client.Close()
				s := w.ended(t, p.tuple)
				if reason := s[len(s)-1].str("weir.end_reason"); reason != "rst" || len(s) != 2 {
					t.Errorf("told as:\n%v", s)
				}
			})
			t.Run(name+"/no answer", func(t *testing.T) {
				t.Parallel()
				to.deaf(t, f, 11)
				d := from.dialTCP(at(11), silence)
				e := e
				e.end, e.source = "timeout", d.syn(f)
				w.expect(t, tuple{"tcp", d.source, at(11)}, e)
			})
			t.Run(name+"/idle", func(t *testing.T) {
				t.Parallel()
				p := l.connect(t, from, to, at(12))
				p.chat(t)
				s := w.ended(t, p.tuple)
				if reason := s[len(s)-1].str("weir.end_reason"); reason != "timeout" || len(s) != 2 {
					t.Errorf("told as:\n%v", s)
				}
			})
			t.Run(name+"/the same ports again", func(t *testing.T) {
				t.Parallel()
				listener := to.listenTCP(t, at(13))
				source := netip.AddrPort{}
				for range 3 {
					c := from.dialFrom(t, source, at(13))
					source = c.LocalAddr().(*net.TCPAddr).AddrPort()
					listener.SetDeadline(time.Now().Add(patience))
					server, err := listener.AcceptTCP()
					if err != nil {
						t.Fatal(err)
					}
					p := &pair{tuple: tuple{"tcp", source, at(13)}, client: c, server: server}
					p.chat(t)
					c.SetLinger(0)
					c.Close()
					server.Close()
				}
				var starts, ends int
				ids := map[string]bool{}
				await(t, "three ends", func() bool {
					starts, ends = 0, 0
					for _, r := range w.records(t) {
						if (tuple{"tcp", source, at(13)}).is(r) {
							ids[r.str("weir.connection.id")] = true
							switch r.event {
							case "weir.connection.start":
								starts++
							case "weir.connection.end":
								ends++
								if reason := r.str("weir.end_reason"); reason != "rst" {
									t.Fatalf("end %s", r.body)
								}
							}
						}
					}
					return ends >= 3
				})
				if starts != 3 || ends != 3 || len(ids) != 3 {
					t.Errorf("three connections are told with %d ids, %d starts, %d ends", len(ids), starts, ends)
				}
			})
		}
	}
}

// deaf opens a listener that hears nothing, and so answers nothing.
func (h *host) deaf(t *testing.T, f family, port uint16) {
	t.Helper()
	var err error
	h.run(func() {
		domain := unix.AF_INET
		var at unix.Sockaddr = &unix.SockaddrInet4{Port: int(port)}
		if f == ipv6 {
			domain = unix.AF_INET6
			at = &unix.SockaddrInet6{Port: int(port)}
		}
		var s int
		if s, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		t.Cleanup(func() { unix.Close(s) })
		unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1) // fails for IPv4, which is right
		// A filter that keeps no byte of a packet: the socket never sees it.
		filter := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
		if err = unix.SetsockoptSockFprog(s, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &filter[0]}); err != nil {
			return
		}
		if err = unix.Bind(s, at); err == nil {
			err = unix.Listen(s, 1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// dialFrom connects from an address and port, unless that is zero.
func (h *host) dialFrom(t *testing.T, from, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	dialer := net.Dialer{Timeout: patience, KeepAlive: untold, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	}}
	if from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(from)
	}
	var c net.Conn
	var err error
	for range 10 {
		h.run(func() { c, err = dialer.Dial("tcp", to.String()) })
		if !errors.Is(err, unix.EADDRNOTAVAIL) { // comes now and then for no reason (golang.org/issue/5478)
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// TestUpdates: a connection that is still there is told of, if that is asked
// for.
func TestUpdates(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := start(t, l.a, config{receiver: "update_interval: 1s\nevents: {weir.connection.start: {enabled: false}}"})
	w.partial = true // starts are switched off
	p := l.connect(t, l.a, l.b, netip.AddrPortFrom(l.address(l.b, ipv4, 0), 9090))
	await(t, "three updates", func() bool {
		p.chat(t)
		return len(w.story(t, p.tuple).of("update")) >= 3
	})
	e := expectation{direction: "outbound", verdict: "detected", mode: "detect", end: "fin"}
	e.source, e.destination = p.exchange(t, 10, 10)
	s := w.ended(t, p.tuple)
	before := int64(0)
	for _, r := range s.of("update") {
		now := r.num("weir.source.packets")
		if now < before || now > e.source.packets {
			t.Errorf("%d packets, then %d, at the end %d", before, now, e.source.packets)
		}
		before = now
	}
	expectRecord(t, s[len(s)-1], p.tuple, e)
	if len(s.of("start")) > 0 {
		t.Error("a start that nobody asked for")
	}
}

// TestOpenBefore: connections that are open when Weir comes are told, with the
// right direction even where the ports mislead, and judged.
func TestOpenBefore(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var pairs []*pair
	var expected []expectation
	for _, f := range families {
		for _, direction := range []string{"outbound", "inbound"} {
			from, to := l.a, l.b
			if direction == "inbound" {
				from, to = l.b, l.a
			}
			for _, port := range []uint16{22, 65000} { // below and above the client's
				at := netip.AddrPortFrom(l.address(to, f, 0), port)
				listener := to.listenTCP(t, at)
				c := from.dialFrom(t, netip.AddrPortFrom(l.address(from, f, 0), 30000+port%7), at)
				server, err := listener.AcceptTCP()
				if err != nil {
					t.Fatal(err)
				}
				p := &pair{tuple: tuple{"tcp", c.LocalAddr().(*net.TCPAddr).AddrPort(), at}, client: c, server: server}
				t.Cleanup(func() { c.Close(); server.Close() })
				p.chat(t)
				pairs = append(pairs, p)
				expected = append(expected, expectation{
					direction: direction, mode: "prevent", generation: "1", reason: "rule",
					verdict: "allowed", action: "allow", rule: "all-" + direction, end: "fin",
				})
			}
		}
	}
	w := start(t, l.a, config{policy: string(newPolicy(t, `
mode: prevent
rules:
  - {name: all-outbound, action: allow, direction: outbound, layer4: {tcp: [22, 65000]}}
  - {name: all-inbound, action: allow, direction: inbound, layer4: {tcp: [22, 65000]}}
`))})
	for i, p := range pairs {
		p.chat(t)
		s := w.awaitRecord(t, "the start of "+p.tuple.String(), p.tuple.is)
		expectRecord(t, s, p.tuple, expected[i])
		p.client.CloseWrite()
		p.server.CloseWrite()
		last := w.ended(t, p.tuple)
		if len(last) != 2 || last[1].str("weir.end_reason") != "fin" {
			t.Errorf("told as:\n%v", last)
		}
	}
}
