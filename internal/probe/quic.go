package probe

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/quic-go/quic-go"
)

// shakeQUIC shakes hands by QUIC.
func (p *Prober) shakeQUIC(ctx context.Context, q *Question, config *tls.Config) error {
	conn, closed, err := p.listen(ctx, q)
	if err != nil {
		return err
	}
	defer closed()
	defer conn.Close()
	limited := &limitedDatagrams{PacketConn: conn}
	limited.left.Store(longestHandshake)
	t := &quic.Transport{Conn: limited}
	defer t.Close()
	c, err := t.Dial(ctx, net.UDPAddrFromAddrPort(q.Server.Address), config, &quic.Config{
		HandshakeIdleTimeout: p.config.Timeout, MaxIncomingStreams: -1, MaxIncomingUniStreams: -1, DisablePathMTUDiscovery: true,
	})
	if err != nil {
		if limited.left.Load() < 0 {
			return errTooLong
		}
		return err
	}
	// Behind the handshake, nothing of an application.
	const noError = 0
	c.CloseWithError(noError, "")
	return nil
}

// listen opens a socket for datagrams, as dial does for TCP.
func (p *Prober) listen(ctx context.Context, q *Question) (conn net.PacketConn, closed func(), err error) {
	closed = func() {}
	l := net.ListenConfig{Control: p.control(q, &closed)}
	conn, err = l.ListenPacket(ctx, "udp", netip.AddrPortFrom(q.Source, 0).String())
	if err != nil {
		closed()
		return nil, nil, err
	}
	return conn, closed, nil
}

// limitedDatagrams is a socket of which no more than so many bytes are handed on.
type limitedDatagrams struct {
	net.PacketConn
	left atomic.Int64
}

// ReadFrom drops what is too much: the handshake does not get on then.
func (l *limitedDatagrams) ReadFrom(b []byte) (n int, from net.Addr, err error) {
	for {
		n, from, err = l.PacketConn.ReadFrom(b)
		if err != nil || l.left.Add(-int64(n)) >= 0 {
			return n, from, err
		}
	}
}

// SetReadBuffer and SetWriteBuffer are called by quic-go, for more than a handshake
// needs.
func (l *limitedDatagrams) SetReadBuffer(int) error  { return nil }
func (l *limitedDatagrams) SetWriteBuffer(int) error { return nil }
