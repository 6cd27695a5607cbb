package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
)

// road is a host that Weir watches between two others, a client's and a server's.
// These are no hosts but the far ends of two cables: what is sent by them, and seen
// there, are frames as they are, whatever a stack would make of them.
//
//	client ── road0 [this namespace, forwards] road2 ── server
type road struct {
	client, server *wire
	engine         *Engine
	told           *collector
}

// The addresses: of this host, on the client's and the server's side, and theirs.
var (
	hereOfClient = map[int]netip.Addr{4: netip.MustParseAddr("10.66.1.1"), 6: netip.MustParseAddr("fd66:1::1")}
	hereOfServer = map[int]netip.Addr{4: netip.MustParseAddr("10.66.2.1"), 6: netip.MustParseAddr("fd66:2::1")}
	theClient    = map[int]netip.Addr{4: netip.MustParseAddr("10.66.1.2"), 6: netip.MustParseAddr("fd66:1::2")}
	theServer    = map[int]netip.Addr{4: netip.MustParseAddr("10.66.2.2"), 6: netip.MustParseAddr("fd66:2::2")}
)

// roadConfig is how an engine watches the road.
func roadConfig() Config {
	return Config{
		Include: []string{"road0", "road2"}, MaxEntries: 1 << 16,
		Timeouts: Timeouts{TCP: time.Minute, TCPClosing: time.Minute, UDP: time.Minute, ICMP: time.Minute},
		Inspect: InspectConfig{
			MaxBytes: 12288, MaxWait: 5 * time.Second, LateWait: time.Minute, Queues: 3,
			Report: Report{HTTP: true, TLS: true, DNS: true, SSH: true, Answers: true},
		},
	}
}

// bareRoad is one that nobody watches.
func bareRoad(t testing.TB) *road {
	t.Helper()
	nstest.Need(t)
	r := &road{told: &collector{}}
	nstest.Veth(t, "road0", "road1")
	nstest.Veth(t, "road2", "road3")
	r.client = newWire(t, "road0", "road1", hereOfClient, theClient)
	r.server = newWire(t, "road2", "road3", hereOfServer, theServer)
	for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// newRoad starts an engine with a policy.
func newRoad(t testing.TB, text string, change func(*Config)) *road {
	t.Helper()
	r := bareRoad(t)
	ignore := goleak.IgnoreCurrent()
	c := roadConfig()
	c.Keep = KeepNever
	if change != nil {
		change(&c)
	}
	var err error
	if r.engine, err = New(c, zaptest.NewLogger(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.engine.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		datapath.CloseParked()
		goleak.VerifyNone(t, ignore)
	})
	if err := r.engine.Apply(1, load(t, text), nil); err != nil {
		t.Fatal(err)
	}
	if err := r.engine.Start(Sink{Connections: r.told.take, Exchanges: r.told.takeExchanges}); err != nil {
		t.Fatal(err)
	}
	return r
}

// wire is the far end of a cable.
type wire struct {
	fd       int
	index    int
	own, far net.HardwareAddr // the end's that nobody has, and this host's
	quit     chan struct{}
	ended    chan struct{}

	mu   sync.Mutex
	seen []sight
	// takes are called with what comes for their tuples, as its receiver has them.
	takes map[packet.Tuple]func(*packet.Packet, []byte)
}

// sight is a packet as it came.
type sight struct {
	packet  packet.Packet
	payload []byte
}

func newWire(t testing.TB, near, far string, here, there map[int]netip.Addr) *wire {
	t.Helper()
	w := &wire{
		own: net.HardwareAddr{2, 0, 0, 0, 0, 0xcc}, quit: make(chan struct{}), ended: make(chan struct{}),
		takes: map[packet.Tuple]func(*packet.Packet, []byte){},
	}
	// The far end is only a cable's: its packets are for an address that nobody has.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+far+"/disable_ipv6", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	n, err := netlink.LinkByName(near)
	if err != nil {
		t.Fatal(err)
	}
	f, err := netlink.LinkByName(far)
	if err != nil {
		t.Fatal(err)
	}
	w.far, w.index = n.Attrs().HardwareAddr, f.Attrs().Index
	for version, bits := range map[int]int{4: 24, 6: 64} {
		ip := net.IP(here[version].AsSlice())
		a := &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, len(ip)*8)}, Flags: unix.IFA_F_NODAD}
		neighbor := &netlink.Neigh{
			LinkIndex: n.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.IP(there[version].AsSlice()), HardwareAddr: w.own,
		}
		if err := errors.Join(netlink.AddrReplace(n, a), netlink.NeighSet(neighbor)); err != nil {
			t.Fatal(err)
		}
	}
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // in network order
	if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	wait := unix.Timeval{Usec: 50000}
	err = errors.Join(
		unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: w.index}))
	if err != nil {
		t.Fatal(err)
	}
	go w.read()
	t.Cleanup(func() {
		close(w.quit)
		<-w.ended
		unix.Close(w.fd)
	})
	return w
}

func (w *wire) read() {
	defer close(w.ended)
	frame := make([]byte, 1<<17)
	for {
		n, from, err := unix.Recvfrom(w.fd, frame, 0)
		select {
		case <-w.quit:
			return
		default:
		}
		if link, ok := from.(*unix.SockaddrLinklayer); err != nil || !ok || link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		var s sight
		if s.packet.Decode(&packet.Frame{Data: frame[:n], Link: packet.LinkEthernet}) != packet.Decoded {
			continue
		}
		s.payload = bytes.Clone(s.packet.CapturedPayload(frame[:n]))
		w.mu.Lock()
		w.seen = append(w.seen, s)
		take := w.takes[s.packet.Tuple.Reversed()]
		w.mu.Unlock()
		if take != nil && s.packet.TransportChecksum(frame[:n]) != packet.Wrong {
			take(&s.packet, s.payload)
		}
	}
}

// listen has what comes for the sender of a tuple handed over.
func (w *wire) listen(own packet.Tuple, take func(*packet.Packet, []byte)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.takes[own] = take
}

// sights are the packets that came for the sender of a tuple so far.
func (w *wire) sights(own packet.Tuple) (all []sight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.seen {
		if s.packet.Tuple == own.Reversed() {
			all = append(all, s)
		}
	}
	return all
}

// send sends an IP packet.
func (w *wire) send(ip []byte) {
	frame := append(append(bytes.Clone(w.far), w.own...), 0x08, 0)
	if ip[0]>>4 == 6 {
		frame[12], frame[13] = 0x86, 0xdd
	}
	if err := unix.Sendto(w.fd, append(frame, ip...), 0, &unix.SockaddrLinklayer{Ifindex: w.index, Halen: 6}); err != nil {
		panic(err) // the cable is gone
	}
}

// ipPacket puts an IP header before what it carries.
func ipPacket(tp packet.Tuple, carried []byte) []byte {
	source, destination := tp.Source.AsSlice(), tp.Destination.AsSlice()
	if tp.Source.Is4() {
		ip := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, tp.Protocol, 0, 0}
		ip = append(append(ip, source...), destination...)
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(carried)))
		binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip))
		return append(ip, carried...)
	}
	ip := []byte{0x60, 0, 0, 0, 0, 0, tp.Protocol, 64}
	binary.BigEndian.PutUint16(ip[4:], uint16(len(carried)))
	return append(append(append(ip, source...), destination...), carried...)
}

// fragments are IP packets that carry the pieces of one, cut behind `at` bytes.
func fragments(tp packet.Tuple, carried []byte, at int) (all [][]byte) {
	at -= at % 8
	for i, piece := range [][]byte{carried[:at], carried[at:]} {
		if tp.Source.Is4() {
			ip := ipPacket(tp, piece)
			binary.BigEndian.PutUint16(ip[4:], 77)
			field := uint16(0x2000)
			if i == 1 {
				field = uint16(at / 8)
			}
			binary.BigEndian.PutUint16(ip[6:], field)
			ip[10], ip[11] = 0, 0
			binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip[:20]))
			all = append(all, ip)
			continue
		}
		field := uint16(1)
		if i == 1 {
			field = uint16(at)
		}
		header := binary.BigEndian.AppendUint16([]byte{tp.Protocol, 0}, field)
		header = append(header, 0, 0, 0, 77)
		ip := ipPacket(tp, append(header, piece...))
		ip[6] = 44
		all = append(all, ip)
	}
	return all
}

// onesSum is the sum of RFC 1071.
func onesSum(b ...[]byte) uint16 {
	var sum uint32
	for _, part := range b {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(part[i]) << 8
			if i+1 < len(part) {
				sum += uint32(part[i+1])
			}
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// pseudoHeader is what a transport checksum covers besides (RFC 8200 section 8.1).
func pseudoHeader(tp packet.Tuple, length int) []byte {
	b := append(tp.Source.AsSlice(), tp.Destination.AsSlice()...)
	return append(b, 0, 0, byte(length>>8), byte(length), 0, 0, 0, tp.Protocol)
}

// tcpSegment is a TCP segment with its checksum.
func tcpSegment(tp packet.Tuple, flags uint8, seq, ack uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, tp.SourcePort)
	b = binary.BigEndian.AppendUint16(b, tp.DestinationPort)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[16:], ^onesSum(pseudoHeader(tp, len(b)), b))
	return b
}

// udpDatagram is a UDP datagram with its checksum.
func udpDatagram(tp packet.Tuple, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, tp.SourcePort)
	b = binary.BigEndian.AppendUint16(b, tp.DestinationPort)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(append(b, 0, 0), payload...)
	binary.BigEndian.PutUint16(b[6:], ^onesSum(pseudoHeader(tp, len(b)), b))
	return b
}

// neighbor makes an address one of the server's.
func (r *road) neighbor(t testing.TB, address netip.Addr) {
	t.Helper()
	l, err := netlink.LinkByName("road2")
	if err == nil {
		err = netlink.NeighSet(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.IP(address.AsSlice()), HardwareAddr: r.server.own,
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}
