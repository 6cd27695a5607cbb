package e2e

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// udpEcho answers every datagram, until the end of the test, and counts.
type udpEcho struct{ received atomic.Int64 }

func (h *host) echoUDP(t *testing.T, at netip.AddrPort) *udpEcho {
	t.Helper()
	var c *net.UDPConn
	var err error
	h.run(func() { c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	e := &udpEcho{}
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			e.received.Add(1)
			c.WriteToUDPAddrPort(buffer[:n], from)
		}
	}()
	return e
}

// dialUDP makes a connected socket, closed with the test.
func (h *host) dialUDP(t *testing.T, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	var err error
	h.run(func() { c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func udpTuple(c *net.UDPConn) tuple {
	return tuple{"udp", c.LocalAddr().(*net.UDPAddr).AddrPort(), c.RemoteAddr().(*net.UDPAddr).AddrPort()}
}

// ask sends one datagram and waits for its answer.
func ask(c *net.UDPConn, size int, within time.Duration) error {
	c.SetDeadline(time.Now().Add(within))
	if _, err := c.Write(make([]byte, size)); err != nil {
		return err
	}
	n, err := c.Read(make([]byte, 1<<16))
	if err == nil && n != size {
		err = errors.New("the answer has another size")
	}
	return err
}

// datagrams are n datagrams of that size.
func datagrams(f family, n, size int64) counts {
	if f == ipv4 {
		return counts{n, n * (20 + 8 + size)}
	}
	return counts{n, n * (40 + 8 + size)}
}

// pinger sends ICMP echo requests from one address and sees the answers; on the
// other host it sees the requests.
type pinger struct {
	c      net.PacketConn
	family family
	id     uint16
}

func (h *host) pinger(t *testing.T, at netip.Addr) *pinger {
	t.Helper()
	p := &pinger{family: ipv4, id: uint16(rand.Uint32())}
	network := "ip4:icmp"
	if at.Is6() {
		p.family, network = ipv6, "ip6:ipv6-icmp"
	}
	var err error
	h.run(func() { p.c, err = net.ListenPacket(network, at.String()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.c.Close() })
	return p
}

// types of echo request and reply: RFC 792, RFC 4443.
func (p *pinger) types() (request, reply byte) {
	if p.family == ipv4 {
		return 8, 0
	}
	return 128, 129
}

// send sends a request with that many bytes after the header.
func (p *pinger) send(to netip.Addr, sequence uint16, size int) error {
	m := make([]byte, 8+size)
	m[0], _ = p.types()
	binary.BigEndian.PutUint16(m[4:], p.id)
	binary.BigEndian.PutUint16(m[6:], sequence)
	if p.family == ipv4 { // of ICMPv6 the kernel sees to it
		binary.BigEndian.PutUint16(m[2:], checksum(m))
	}
	_, err := p.c.WriteTo(m, &net.IPAddr{IP: to.AsSlice()})
	return err
}

// saw waits for a message of that type with that identifier.
func (p *pinger) saw(kind byte, id uint16, within time.Duration) bool {
	p.c.SetReadDeadline(time.Now().Add(within))
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := p.c.ReadFrom(buffer)
		if err != nil {
			return false
		}
		if n >= 8 && buffer[0] == kind && binary.BigEndian.Uint16(buffer[4:]) == id {
			return true
		}
	}
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func icmpTuple(from, to netip.Addr) tuple {
	transport := "icmp"
	if from.Is6() {
		transport = "icmpv6"
	}
	return tuple{transport, netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, 0)}
}
