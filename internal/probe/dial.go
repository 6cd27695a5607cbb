package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// errSetUp: the socket cannot be made what it has to be.
var errSetUp = errors.New("set up the socket of a certificate probe")

// dial connects to where the question's connection goes, from its address, in the
// network namespace of the process. closed is called when the connection is closed.
func (p *Prober) dial(ctx context.Context, q *Question) (c net.Conn, closed func(), err error) {
	closed = func() {}
	d := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(q.Source, 0)),
		KeepAlive: -1,
		Control:   p.control(q, &closed),
	}
	d.SetMultipathTCP(false)
	c, err = d.DialContext(ctx, "tcp", q.Server.Address.String())
	if err != nil {
		closed()
		return nil, nil, err
	}
	return c, closed, nil
}

// control sets a socket up.
func (p *Prober) control(q *Question, closed *func()) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) (err error) {
		failed := raw.Control(func(fd uintptr) { *closed, err = p.setUp(int(fd), q) })
		if err = errors.Join(failed, err); err != nil {
			return fmt.Errorf("%w: %w", errSetUp, err)
		}
		return nil
	}
}

// setUp makes a socket one of Weir's own. The port of TCP is chosen when it connects, so
// that it may be one that has connections elsewhere (ip(7)).
func (p *Prober) setUp(fd int, q *Question) (closed func(), err error) {
	closed = func() {}
	if !q.Server.QUIC {
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return closed, fmt.Errorf("have the port chosen late: %w", err)
		}
	}
	if q.Device != "" {
		if err := unix.BindToDevice(fd, q.Device); err != nil {
			return closed, fmt.Errorf("bind to %s: %w", q.Device, err)
		}
	}
	if p.config.Own == nil {
		return closed, nil
	}
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return closed, fmt.Errorf("read its cookie: %w", err)
	}
	told, err := p.config.Own(cookie)
	if err != nil {
		return closed, err
	}
	return told, nil
}
