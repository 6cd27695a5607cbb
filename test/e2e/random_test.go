package e2e

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestRandomFrames sends 20,000 frames of random bytes to the host. Nothing
// breaks: Weir lives, an established connection goes on, and what could not be
// read is counted.
func TestRandomFrames(t *testing.T) {
	for _, c := range []struct {
		mode     string
		counters []string // where what is malformed is counted
	}{
		{"prevent", []string{"malformed_dropped", "non_ip_passed", "fragment_dropped"}},
		{"detect", []string{"malformed_passed", "non_ip_passed", "fragment_passed"}},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			w := start(t, l.a, config{
				policy:    string(newPolicy(t, "mode: "+c.mode+shut8080[len("\nmode: prevent"):])),
				telemetry: metricsAt8888,
			})
			w.partial = true        // of so many connections at once some are told together
			before := l.received(t) // without Weir
			kept := l.connect(t, l.b, l.a, netip.AddrPortFrom(l.address(l.a, ipv4, 0), 9090))
			kept6 := l.connect(t, l.b, l.a, netip.AddrPortFrom(l.address(l.a, ipv6, 0), 9090))
			const frames = 20000
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			l.send(t, frames, rand.New(rand.NewPCG(seed, 0)))
			kept.chat(t)
			kept6.chat(t)
			if w.hasExited() {
				t.Fatal("the Collector ended")
			}
			// Every frame that came in is either told as unreadable, or counted as a
			// packet that the peer sent in a connection.
			var came, unread, counted int64
			awaitOr(t, func() bool {
				came = l.received(t)
				page := l.a.get(t, "http://127.0.0.1:8888/metrics")
				unread, counted = 0, 0
				for _, name := range c.counters {
					unread += sample(page, "otelcol_weir_datapath_packets", name)
				}
				for key, n := range w.metric(t, "weir.connection.packets", "weir.direction", "weir.sender") {
					switch key {
					case "inbound source", "forwarded source", "forwarded destination", "outbound destination":
						counted += n
					}
				}
				return unread+counted >= came-before-arp && unread+counted <= l.received(t)
			}, func() {
				t.Errorf("%d frames came in; %d are told as unreadable, %d are counted", came, unread, counted)
			})
			for _, p := range []*pair{kept, kept6} {
				p.exchange(t, 100000, 100000)
				if s := w.ended(t, p.tuple); len(s) != 2 || s[1].str("weir.end_reason") != "fin" {
					t.Errorf("the connection that was open:\n%v", s)
				}
			}
			// Half of them are no IP at all, or are cut off in their header.
			if unread < frames/4 || unread > frames {
				t.Errorf("%d of %d frames are told as unreadable", unread, frames)
			}
		})
	}
}

// arp is the most frames of ARP, which pass uncounted, that a test may see.
const arp = 10

// received is how many frames have come in by a's interface.
func (l *lab) received(t *testing.T) int64 {
	t.Helper()
	var n int64
	l.a.netlink(t, func(h *netlink.Handle) error {
		i, err := h.LinkByName(nearName)
		if err == nil {
			n = int64(i.Attrs().Statistics.RxPackets)
		}
		return err
	})
	return n
}

// metricsAt8888 has the Collector offer its own metrics to Prometheus.
const metricsAt8888 = "{" + allLogs + ", metrics: {level: normal, readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: 8888}}}}]}}"

// sample sums up the samples whose name begins so and which have the label value.
func sample(page, name, label string) (sum int64) {
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `[a-z_]*\{([^}]*)\} ([0-9.e+]+)$`)
	for _, match := range line.FindAllStringSubmatch(page, -1) {
		if strings.Contains(match[1], strconv.Quote(label)) {
			n, _ := strconv.ParseFloat(match[2], 64)
			sum += int64(n)
		}
	}
	return sum
}

// send sends frames of random bytes from b to a: without any sense, with a known
// protocol, and with the beginning of a header that says so.
func (l *lab) send(t *testing.T, frames int, random *rand.Rand) {
	t.Helper()
	var near, far netlink.Link
	for _, side := range []struct {
		h    *host
		name string
		l    *netlink.Link
	}{{l.a, nearName, &near}, {l.b, farName, &far}} {
		side.h.netlink(t, func(n *netlink.Handle) (err error) {
			*side.l, err = n.LinkByName(side.name)
			return err
		})
	}
	var err error
	socket := -1
	l.b.run(func() { socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) })
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	to := &unix.SockaddrLinklayer{Ifindex: far.Attrs().Index, Halen: 6}
	a4, b4 := l.address(l.a, ipv4, 0).As4(), l.address(l.b, ipv4, 0).As4()
	a6, b6 := l.address(l.a, ipv6, 0).As16(), l.address(l.b, ipv6, 0).As16()
	protocols := []byte{1, 6, 17, 58, 0, 43, 44, 47, 50, 51, 60, 132}
	for i := range frames {
		frame := make([]byte, 14+random.IntN(1500))
		for j := range frame {
			frame[j] = byte(random.Uint32())
		}
		copy(frame, near.Attrs().HardwareAddr)
		copy(frame[6:], far.Attrs().HardwareAddr)
		types := []uint16{uint16(random.Uint32()), unix.ETH_P_IP, unix.ETH_P_IPV6, unix.ETH_P_8021Q, unix.ETH_P_8021AD}
		if len(frame) < 14+6 {
			types = types[:3] // the kernel drops a VLAN tag without an inner type, and shows it to nobody
		}
		binary.BigEndian.PutUint16(frame[12:], types[random.IntN(len(types))])
		body := frame[14:]
		switch i % 4 {
		case 0: // IPv4 from the peer, of any protocol, right up to a random place
			header := []byte{0x45, 0, byte(len(body) >> 8), byte(len(body)), 0, 0, 0, 0, 64, protocols[random.IntN(len(protocols))], 0, 0}
			header = append(append(header, b4[:]...), a4[:]...)
			binary.BigEndian.PutUint16(header[10:], checksum(header))
			binary.BigEndian.PutUint16(frame[12:], unix.ETH_P_IP)
			copy(body, header[:random.IntN(len(header)+1)])
		case 1: // IPv6 likewise
			header := []byte{0x60, 0, 0, 0, 0, 0, protocols[random.IntN(len(protocols))], 64}
			binary.BigEndian.PutUint16(header[4:], uint16(max(0, len(body)-40)))
			header = append(append(header, b6[:]...), a6[:]...)
			binary.BigEndian.PutUint16(frame[12:], unix.ETH_P_IPV6)
			copy(body, header[:random.IntN(len(header)+1)])
		}
		if err := unix.Sendto(socket, frame, 0, to); err != nil && err != unix.ENOBUFS {
			t.Fatal(fmt.Errorf("send a frame of %d bytes: %w", len(frame), err))
		}
	}
}
