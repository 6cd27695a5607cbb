package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
)

// street is a host that Weir runs on, with clients of its own, and across the street a
// server that is a host: it has a stack, and shakes hands with whoever comes.
//
//	[this namespace] street0 ── street1 [another, with a server of TLS]
type street struct {
	engine *Engine
	told   *collector
	server *tlsServer
	*clients
	generation uint64
}

var (
	clientAt = map[int]netip.Addr{4: netip.MustParseAddr("10.69.1.1"), 6: netip.MustParseAddr("fd69::1")}
	clientTo = map[int]netip.Addr{4: netip.MustParseAddr("10.69.1.3"), 6: netip.MustParseAddr("fd69::3")} // another address of the client's
	serverAt = map[int]netip.Addr{4: netip.MustParseAddr("10.69.1.2"), 6: netip.MustParseAddr("fd69::2")}
)

const tlsPort = 443

// newStreet starts an engine with a policy, and a server.
func newStreet(t testing.TB, text string, config *tls.Config, change func(*Config)) *street {
	t.Helper()
	nstest.Need(t)
	nstest.Veth(t, "street0", "street1")
	s := &street{told: &collector{}, server: newTLSServer(t, config), clients: newClients(t)}
	near, err := netlink.LinkByName("street0")
	if err == nil {
		err = errors.Join(addressLink(nil, near, clientAt), addressLink(nil, near, clientTo))
	}
	if err != nil {
		t.Fatal(err)
	}
	ignore := goleak.IgnoreCurrent()
	c := Config{
		Include: []string{"street0"}, MaxEntries: 1 << 12, Keep: KeepNever,
		Timeouts: Timeouts{TCP: time.Minute, TCPClosing: time.Minute, UDP: time.Minute, ICMP: time.Minute},
		Inspect: InspectConfig{
			MaxBytes: 12288, MaxWait: 5 * time.Second, LateWait: time.Minute, CertificateProbe: true, Report: Report{TLS: true},
		},
	}
	if change != nil {
		change(&c)
	}
	if s.engine, err = New(c, zaptest.NewLogger(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.engine.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		datapath.CloseParked()
		s.clients.close()
		s.server.close()
		goleak.VerifyNone(t, ignore)
	})
	if text != "" {
		s.apply(t, text)
	}
	if err := s.engine.Start(Sink{Connections: s.told.take, Exchanges: s.told.takeExchanges}); err != nil {
		t.Fatal(err)
	}
	return s
}

// addressLink gives an interface addresses, in the namespace of n, or in this one.
func addressLink(n *netlink.Handle, l netlink.Link, addresses map[int]netip.Addr) error {
	var errs []error
	for version, bits := range map[int]int{4: 24, 6: 64} {
		ip := net.IP(addresses[version].AsSlice())
		a := &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, len(ip)*8)}, Flags: unix.IFA_F_NODAD}
		if n == nil {
			errs = append(errs, netlink.AddrReplace(l, a))
		} else {
			errs = append(errs, n.AddrReplace(l, a))
		}
	}
	return errors.Join(errs...)
}

// tlsServer takes connections in a namespace of its own, whose interface is watched.
type tlsServer struct {
	listeners [2]net.Listener
	sockets   [2]*net.UDPConn
	running   sync.WaitGroup
	capture   int
	quit      chan struct{}
	once      sync.Once

	mu       sync.Mutex
	config   *tls.Config
	accepted []netip.AddrPort // where connections came from
	open     map[net.Conn]bool
	payloads map[netip.AddrPort]int // bytes that came on the wire, by who sent them
	frame    [1 << 17]byte
}

func newTLSServer(t testing.TB, config *tls.Config) *tlsServer {
	t.Helper()
	s := &tlsServer{config: config, quit: make(chan struct{}), open: map[net.Conn]bool{}, payloads: map[netip.AddrPort]int{}}
	far, err := netlink.LinkByName("street1")
	if err != nil {
		t.Fatal(err)
	}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the namespace ends with the thread and the sockets
		made <- s.open1(far)
	}()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	for _, l := range s.listeners {
		s.running.Go(func() { s.accept(l) })
	}
	s.running.Go(s.watch)
	for _, socket := range s.sockets {
		s.running.Go(func() { s.acceptQUIC(t, socket) })
	}
	return s
}

// open1 makes the namespace, and what listens in it.
func (s *tlsServer) open1(far netlink.Link) (err error) {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := netlink.LinkSetNsFd(far, int(ns.Fd())); err != nil {
		return err
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	n, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer n.Close()
	l, err := n.LinkByName("street1")
	if err != nil {
		return err
	}
	if err := errors.Join(addressLink(n, l, serverAt), n.LinkSetUp(l)); err != nil {
		return err
	}
	for i, version := range []int{4, 6} {
		at := netip.AddrPortFrom(serverAt[version], tlsPort)
		if s.listeners[i], err = net.Listen("tcp", at.String()); err != nil {
			return err
		}
		if s.sockets[i], err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err != nil {
			return err
		}
	}
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // in network order
	if s.capture, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	return unix.Bind(s.capture, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Attrs().Index})
}

// watch notes what comes on the wire, so that its socket does not overflow.
func (s *tlsServer) watch() {
	defer unix.Close(s.capture)
	for {
		select {
		case <-s.quit:
			return
		default:
		}
		unix.Poll([]unix.PollFd{{Fd: int32(s.capture), Events: unix.POLLIN}}, 50)
		s.mu.Lock()
		s.note()
		s.mu.Unlock()
	}
}

// note takes all that has come on the wire by now.
func (s *tlsServer) note() {
	for {
		n, from, err := unix.Recvfrom(s.capture, s.frame[:], unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return
		}
		if link, ok := from.(*unix.SockaddrLinklayer); !ok || link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		var p packet.Packet
		if p.Decode(&packet.Frame{Data: s.frame[:n], Link: packet.LinkEthernet}) != packet.Decoded {
			continue
		}
		s.payloads[netip.AddrPortFrom(p.Tuple.Source, p.Tuple.SourcePort)] += len(p.CapturedPayload(s.frame[:n]))
	}
}

func (s *tlsServer) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
		s.accepted = append(s.accepted, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		if s.open == nil { // it is closed
			c.Close()
		} else {
			s.open[c] = true
		}
		config := s.config
		s.mu.Unlock()
		s.running.Go(func() {
			t := tls.Server(c, config)
			io.Copy(t, t) // says again what is said
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
			c.Close()
		})
	}
}

// acceptQUIC does it by QUIC.
func (s *tlsServer) acceptQUIC(t testing.TB, socket *net.UDPConn) {
	defer socket.Close()
	transport := &quic.Transport{Conn: socket}
	defer transport.Close()
	config := s.config.Clone()
	config.NextProtos = []string{"test"}
	l, err := transport.Listen(config, nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.running.Go(func() {
		for {
			c, err := l.Accept(ctx)
			if err != nil {
				return
			}
			s.running.Go(func() {
				stream, err := c.AcceptStream(ctx)
				if err != nil {
					return
				}
				io.Copy(stream, stream)
				stream.Close()
			})
		}
	})
	<-s.quit
}

func (s *tlsServer) close() {
	s.once.Do(func() {
		close(s.quit)
		for _, l := range s.listeners {
			l.Close()
		}
		s.mu.Lock()
		for c := range s.open {
			c.Close()
		}
		s.open = nil
		s.mu.Unlock()
		s.running.Wait()
	})
}

// taken is how many connections came.
func (s *tlsServer) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accepted)
}

// came is how many bytes came from an end, whatever became of them.
func (s *tlsServer) came(from netip.AddrPort) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note()
	return s.payloads[from]
}
