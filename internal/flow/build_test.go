package flow_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// The packets of these tests are made of their fields, as Decode leaves them.

const (
	syn, ack, fin, rst = packet.SYN, packet.ACK, packet.FIN, packet.RST
	headers            = 40 // bytes of IPv4 and TCP header

	client, server = 1000, 5000 // initial sequence numbers
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("198.51.100.2")

	out       = flow.Hook{Interface: 2, Egress: true, SentByHost: true}
	in        = flow.Hook{Interface: 2, ForHost: true}
	limits    = flow.Timeouts{TCP: time.Hour, TCPClosing: 2 * time.Minute, UDP: time.Minute, ICMP: 10 * time.Second}
	beginning = int64(time.Hour)
)

// segment is a TCP segment from the client (here) or the server (there).
type segment struct {
	fromServer bool
	flags      uint8
	seq, ack   uint32
	payload    int
}

// c and s are segments of client and server.
func c(flags uint8, seq, ack uint32, payload int) segment {
	return segment{false, flags, seq, ack, payload}
}

func s(flags uint8, seq, ack uint32, payload int) segment {
	return segment{true, flags, seq, ack, payload}
}

func (g segment) packet() *packet.Packet {
	p := between(packet.TCP, g.payload)
	p.SourcePort, p.DestinationPort = 40000, 443
	p.TCPFlags, p.Seq, p.Ack = g.flags, g.seq, g.ack
	p.HasOddFlags = g.flags&syn != 0 && g.flags&(fin|rst) != 0 || g.flags&(syn|ack|rst) == 0
	p.Payload, p.PayloadLength = headers, g.payload
	if g.fromServer {
		p.Tuple = p.Tuple.Reversed()
	}
	return p
}

func between(protocol uint8, payload int) *packet.Packet {
	return &packet.Packet{
		Tuple:     packet.Tuple{Source: here, Destination: there, Protocol: protocol},
		EtherType: packet.EtherTypeIPv4, IPVersion: 4, HopLimit: 64,
		Transport: 20, Payload: 28, PayloadLength: payload, Packets: 1, Bytes: headers + payload,
	}
}

func datagram(payload int) *packet.Packet {
	p := between(packet.UDP, payload)
	p.SourcePort, p.DestinationPort = 40000, 53
	return p
}

func reply(p *packet.Packet) *packet.Packet {
	r := *p
	r.Tuple = p.Tuple.Reversed()
	return &r
}

func icmp(kind uint8, id uint16, isReply bool) *packet.Packet {
	p := between(packet.ICMP, 56)
	p.ICMPType, p.ICMPID, p.IsReply = kind, id, isReply
	if isReply {
		p.Tuple = p.Tuple.Reversed()
	}
	return p
}

// world is a tracker with a clock, and all that it told.
type world struct {
	*flow.Tracker
	t      testing.TB
	now    int64
	nextID uint64
	events []flow.Event
}

func newWorld(t testing.TB, text string) *world {
	t.Helper()
	w := &world{t: t, now: beginning}
	w.Tracker = flow.New(flow.Config{MaxEntries: 1000, NewID: func() uint64 { w.nextID++; return w.nextID }})
	if text != "" {
		w.swap(text)
	}
	return w
}

func (w *world) swap(text string) {
	w.t.Helper()
	p, _, err := policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(text)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Swap(p)
}

// see hands over a packet and lets a millisecond pass.
func (w *world) see(p *packet.Packet, h flow.Hook) flow.Result {
	var r flow.Result
	r, w.events = w.Process(p, packet.Decoded, &h, w.now, w.events)
	w.now += int64(time.Millisecond)
	return r
}

// send hands over segments where a host at `here` would see them.
func (w *world) send(segments ...segment) (last flow.Result) {
	for _, g := range segments {
		h := out
		if g.fromServer {
			h = in
		}
		last = w.see(g.packet(), h)
	}
	return last
}

func (w *world) wait(d time.Duration) { w.now += int64(d) }

func (w *world) sweep() (found flow.Swept) {
	found, w.events = w.Sweep(w.now, &limits, 0, w.events)
	return found
}

func (w *world) of(kind flow.Kind) (found []flow.Event) {
	for _, e := range w.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

func (w *world) counter(c flow.Counter) (n uint64) {
	w.Counters(func(which flow.Counter, count uint64) {
		if which == c {
			n = count
		}
	})
	return n
}

// ends checks how many connections began and why which ended.
func (w *world) ends(starts int, want ...flow.End) {
	w.t.Helper()
	// Ends that wait for packets under way are told.
	const long = 1e6 * time.Hour
	_, w.events = w.Sweep(w.now+int64(2*time.Second), &flow.Timeouts{TCP: long, TCPClosing: long, UDP: long, ICMP: long}, 0, w.events)
	var got []flow.End
	for _, e := range w.of(flow.EventEnd) {
		got = append(got, e.End)
	}
	if n := len(w.of(flow.EventStart)); n != starts {
		w.t.Errorf("%d starts, want %d", n, starts)
	}
	if len(got) != len(want) {
		w.t.Fatalf("ends %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			w.t.Errorf("ends %v, want %v", got, want)
		}
	}
}

var handshake = []segment{
	c(syn, client, 0, 0), s(syn|ack, server, client+1, 0), c(ack, client+1, server+1, 0),
}

// open is a handshake, 100 bytes asked and 200 answered.
func open() []segment {
	return append(handshake[:3:3],
		c(ack, client+1, server+1, 100), s(ack, server+1, client+101, 200), c(ack, client+101, server+201, 0))
}
