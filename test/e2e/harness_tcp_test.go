package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listenTCP opens a listener in the namespace. Go would make it MPTCP, whose
// sockets count segments for themselves.
func (h *host) listenTCP(t *testing.T, at netip.AddrPort) *net.TCPListener {
	t.Helper()
	var l net.Listener
	var err error
	h.run(func() {
		c := net.ListenConfig{KeepAlive: untold}
		c.SetMultipathTCP(false)
		l, err = c.Listen(context.Background(), "tcp", at.String())
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// untold switches keepalive probes off, of which no test knows: on a busy machine one
// takes longer than the 15 s after which Go has the kernel send them.
const untold = -1

// silence is how long a test waits before it takes silence for the answer: less
// than the second after which TCP sends its SYN again.
const silence = 700 * time.Millisecond

// dial is the outcome of a connect().
type dial struct {
	conn   *net.TCPConn // nil where it failed
	err    error
	took   time.Duration
	source netip.AddrPort
	// segments is how many the socket had sent when the call ended.
	segments int64
}

// dialTCP connects, within the time given.
func (h *host) dialTCP(to netip.AddrPort, within time.Duration) dial {
	var d dial
	socket := -1
	dialer := net.Dialer{Timeout: within, KeepAlive: untold, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { socket, _ = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	}}
	began := time.Now()
	h.run(func() {
		var c net.Conn
		if c, d.err = dialer.Dial("tcp", to.String()); d.err == nil {
			d.conn = c.(*net.TCPConn)
		}
	})
	d.took = time.Since(began)
	if socket >= 0 {
		if info, err := unix.GetsockoptTCPInfo(socket, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			d.segments = int64(info.Segs_out)
		}
		d.source = localOf(socket)
		unix.Close(socket)
	}
	return d
}

func localOf(socket int) netip.AddrPort {
	switch a, _ := unix.Getsockname(socket); a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) || os.IsTimeout(err) }

// pair is an established connection, both ends in the test's hands.
type pair struct {
	tuple          tuple
	client, server *net.TCPConn
	near           *net.TCPConn // the one on the host that Weir watches
	again          int64        // SYNs that near sent after the first
}

// connect opens a TCP connection and takes both ends.
func (l *lab) connect(t *testing.T, from, to *host, at netip.AddrPort) *pair {
	t.Helper()
	listener := to.listenTCP(t, at)
	defer listener.Close()
	d := from.dialTCP(at, patience)
	if d.err != nil {
		t.Fatalf("connect: %v", d.err)
	}
	listener.SetDeadline(time.Now().Add(patience))
	c, err := listener.AcceptTCP()
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	p := &pair{tuple: tuple{"tcp", d.source, at}, client: d.conn, server: c, near: c}
	if from == l.a {
		p.near, p.again = d.conn, d.segments-2 // a SYN, and the handshake's end
	}
	t.Cleanup(func() { p.client.Close(); p.server.Close() })
	return p
}

// exchange sends that many bytes each way and closes, the client first. It
// returns what the two ends sent.
func (p *pair) exchange(t *testing.T, up, down int) (source, destination counts) {
	t.Helper()
	deadline := time.Now().Add(patience)
	p.client.SetDeadline(deadline)
	p.server.SetDeadline(deadline)
	failed := make(chan error, 1)
	go func() {
		_, err := p.client.Write(make([]byte, up))
		failed <- errors.Join(err, p.client.CloseWrite())
	}()
	received, err := io.Copy(io.Discard, p.server)
	if err := errors.Join(err, <-failed); err != nil || received != int64(up) {
		t.Fatalf("%d of %d bytes came to the server: %v", received, up, err)
	}
	go func() {
		_, err := p.server.Write(make([]byte, down))
		failed <- errors.Join(err, p.server.CloseWrite())
	}()
	received, err = io.Copy(io.Discard, p.client)
	if err := errors.Join(err, <-failed); err != nil || received != int64(down) {
		t.Fatalf("%d of %d bytes came to the client: %v", received, down, err)
	}
	return p.counts(t)
}

// counts are what the socket on Weir's host sent and received (RFC 4898:
// tcpi_segs_out, tcpi_segs_in count every segment, pure acknowledgments and
// those of superpackets included). The peer's would not do: what is lost on the
// way was sent all the same. A server's socket is made after the handshake's
// first two segments; of these it counts the SYN, and not its answer.
//
// IP bytes follow from it: each segment has an IP header and a TCP header with
// the timestamp option (12 bytes), SYN and SYN-ACK one with 20 bytes of options
// (MSS, timestamps, window scale); SACK is off. Payload is tcpi_bytes_sent,
// which counts retransmitted bytes too.
func (p *pair) counts(t *testing.T) (source, destination counts) {
	t.Helper()
	const (
		closed        = 7 // TCP_CLOSE: nothing more is sent by this socket
		optTimestamps = 1 // TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK of <linux/tcp.h>
		optSACK       = 2
	)
	await(t, "the end of a TCP connection", func() bool { return infoOf(t, p.near).State == closed })
	near, far := infoOf(t, p.near), infoOf(t, p.peer())
	if near.Options&optTimestamps == 0 || near.Options&optSACK != 0 {
		t.Fatal("the TCP options are not those that the bytes are computed with")
	}
	header := int64(20 + 32)
	if p.tuple.destination.Addr().Is6() {
		header += 20
	}
	total := func(segments uint32, payload uint64, uncounted int64) counts {
		n := int64(segments) + uncounted
		return counts{n, n*header + 8 + int64(payload)}
	}
	if p.near == p.client {
		source = total(near.Segs_out, near.Bytes_sent, 0)
		source.bytes += 8 * p.again
		return source, total(near.Segs_in, far.Bytes_sent, 0)
	}
	return total(near.Segs_in, far.Bytes_sent, 0), total(near.Segs_out, near.Bytes_sent, 1)
}

func (p *pair) peer() *net.TCPConn {
	if p.near == p.client {
		return p.server
	}
	return p.client
}

func infoOf(t *testing.T, c *net.TCPConn) *unix.TCPInfo {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	controlErr := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err := errors.Join(controlErr, err); err != nil {
		t.Fatal(err)
	}
	return info
}

// syn is what a connect() that was not answered, or refused, sent.
func (d dial) syn(f family) counts {
	if f == ipv4 {
		return counts{d.segments, d.segments * 60}
	}
	return counts{d.segments, d.segments * 80}
}
