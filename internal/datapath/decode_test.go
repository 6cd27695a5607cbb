package datapath

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/classifier"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

var generatedFrames = flag.Int("weir.frames", 100_000, "frames that the kernel's decoder and Go's are compared on")

// skb is struct __sk_buff as the kernel's test run takes it.
type skb struct {
	_       [176]byte
	GSOSize uint32
	_       [12]byte
}

// TestDecoderAgainstReference sends generated frames through the program and
// through the Go decoder: what the kernel counts, by cause or by connection, must
// be what the reference says.
func TestDecoderAgainstReference(t *testing.T) {
	const each = 20_000 // frames between fresh tables
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0))}
	for left := *generatedFrames; left > 0; left -= each {
		t.Run("", func(t *testing.T) {
			if difference, n := compareDecoders(t, open(t), g, min(left, each)); difference != "" {
				t.Errorf("frame %d: %s", n, difference)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// compareDecoders says how the two differ on the first frame where they do, and
// which that is.
func compareDecoders(t *testing.T, d *Datapath, g *generator, frames int) (string, int) {
	tables, err := classifier.Compile(policy.Observe(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Swap(tables, 0, nil, nil); err != nil {
		t.Fatal(err)
	}
	known := packet.NewFragments(4096)
	before := passedCounts(t, d)
	expected := map[bpf.ConnectionsFlowKey][2]uint64{} // packets, bytes of both ends
	causes := map[packet.Outcome]uint64{}
	for n := range frames {
		data, gso := g.frame()
		var p packet.Packet
		outcome := p.Decode(&packet.Frame{Data: data, Link: packet.LinkEthernet, GSOSize: int(gso)})
		outcome = known.Follow(&p, outcome, 0, time.Now())
		_, err := d.objects.Ingress.Run(&ebpf.RunOptions{Data: data, Context: &skb{GSOSize: gso}})
		if err != nil {
			continue // the kernel's test run itself asks for a whole IP header
		}
		if outcome == packet.NotIP && p.EtherType == packet.EtherTypeARP {
			continue // passes uncounted
		}
		if outcome != packet.Decoded {
			causes[outcome]++
			got := passedCounts(t, d)
			for i := range got {
				got[i] -= before[i]
			}
			if got != [3]uint64{causes[packet.Malformed], causes[packet.LaterFragment], causes[packet.NotIP]} {
				return fmt.Sprintf("%x\ngso %d: outcome %v %v, but the kernel counts malformed, orphans, not IP %v, want %v",
					data, gso, outcome, p.Reason, got, causes), n
			}
			continue
		}
		k, _ := flowKey(p.Tuple)
		e := expected[k]
		e[0] += uint64(p.Packets)
		e[1] += uint64(p.Bytes)
		expected[k] = e
		var f bpf.ConnectionsFlow
		if err := d.objects.Flows.Lookup(k, &f); err != nil {
			return fmt.Sprintf("%x\ngso %d: %+v: no entry: %v; the kernel counts malformed, orphans, not IP %v, before %v",
				data, gso, p.Tuple, err, passedCounts(t, d), causes), n
		}
		if got := [2]uint64{f.Packets[0] + f.Packets[1], f.Bytes[0] + f.Bytes[1]}; got != e {
			return fmt.Sprintf("%x\ngso %d: %+v: packets and bytes %v, want %v", data, gso, p.Tuple, got, e), n
		}
	}
	t.Logf("%d frames, %d connections, %v", frames, len(expected), causes)
	return "", frames
}

// passedCounts are the kernel's counts of malformed packets, orphaned fragments
// and those that are not IP.
func passedCounts(t *testing.T, d *Datapath) (n [3]uint64) {
	t.Helper()
	for i, c := range []bpf.ConnectionsCounter{
		bpf.ConnectionsCounterCOUNT_MALFORMED, bpf.ConnectionsCounterCOUNT_FRAGMENT_ORPHAN, bpf.ConnectionsCounterCOUNT_NON_IP,
	} {
		var perCPU []uint64
		if err := d.objects.Counters.Lookup(uint32(c), &perCPU); err != nil {
			t.Fatal(err)
		}
		n[i] = sum(perCPU)
	}
	return n
}

// generator makes frames that are nearly right: every field has its odd values.
type generator struct{ *rand.Rand }

func (g *generator) one(of ...int) int { return of[g.IntN(len(of))] }

// rarely is true once in n.
func (g *generator) rarely(n int) bool { return g.IntN(n) == 0 }

func (g *generator) frame() (data []byte, gso uint32) {
	b := make([]byte, 12, 256)
	b[0], b[6] = 2, 2
	v6 := g.rarely(2)
	for range g.one(0, 0, 0, 1, 1, 2, 3) {
		b = binary.BigEndian.AppendUint16(b, uint16(g.one(0x8100, 0x8100, 0x88a8)))
		b = binary.BigEndian.AppendUint16(b, uint16(g.one(0, 1, 2, 0x2001, 0xfff)))
	}
	kind := 0x0800
	if v6 {
		kind = 0x86dd
	}
	if g.rarely(50) {
		kind = g.one(0x0806, 0x88cc, 0x0100, 0x0800, 0x86dd)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(kind))
	protocol := g.one(1, 6, 6, 17, 17, 58, 4, 41, 47, 50, 51, 60, 132, 255)
	if v6 {
		b = g.ipv6(b, byte(protocol))
	} else {
		b = g.ipv4(b, byte(protocol))
	}
	if g.rarely(10) {
		b = append(b, make([]byte, g.IntN(20))...) // padding
	}
	if g.rarely(20) {
		b = b[:14+g.IntN(len(b)-13)] // cut short
	}
	if g.rarely(6) {
		gso = uint32(g.one(1, 8, 100, 1448))
	}
	return b, gso
}

func (g *generator) ipv4(b []byte, protocol byte) []byte {
	l4 := g.transport(protocol)
	header := 20
	if g.rarely(5) {
		header = g.one(24, 60)
	}
	ip := make([]byte, header)
	ip[0] = 0x40 | byte(header/4)
	if g.rarely(40) {
		ip[0] = byte(g.one(0x44, 0x4f, 0x55, 0x65))
	}
	total := header + len(l4)
	if g.rarely(20) {
		total = g.one(0, 19, header, total-1, total+1, 65535)
	}
	binary.BigEndian.PutUint16(ip[2:], uint16(total))
	ip[5] = byte(g.IntN(4))
	if g.rarely(4) {
		binary.BigEndian.PutUint16(ip[6:], uint16(g.one(0x2000, 0x2000, 0x2001, 1, 2, 3, 0x2003, 0x1fff, 0x4000, 0x8000)))
	}
	ip[8], ip[9] = 64, protocol
	copy(ip[12:], []byte{10, 0, 0, byte(g.IntN(3))})
	copy(ip[16:], []byte{10, 0, 0, byte(g.IntN(3))})
	if g.rarely(20) {
		ip[11] = 1
	} else if n := int(ip[0]&15) * 4; n >= 20 && n <= len(ip) {
		binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip[:n]))
	}
	return append(append(b, ip...), l4...)
}

func (g *generator) ipv6(b []byte, protocol byte) []byte {
	l4 := g.transport(protocol)
	next := protocol
	for range g.one(0, 0, 0, 1, 2, 3, 7, 8, 9) { // from the last to the first
		h := make([]byte, 8)
		h[0] = next
		next = byte(g.one(0, 43, 44, 44, 51, 60, 60, 60, 135))
		switch {
		case next == 44:
			binary.BigEndian.PutUint16(h[2:], uint16(g.one(0, 0, 1, 1, 8, 9, 16, 6, 0xfff8)))
			h[7] = byte(g.IntN(4))
		case next == 51:
			h[1] = byte(g.one(0, 0, 1, 4))
		case g.rarely(3):
			h[1] = byte(g.one(1, 2, 127, 255))
		}
		if next == 0 && g.rarely(2) {
			h[2], h[3] = 0xc2, 4
		}
		if n := (int(h[1]) + 1) * 8; next != 44 && next != 51 && n < 100 {
			h = append(h, make([]byte, n-8)...)
		}
		l4 = append(h, l4...)
	}
	ip := make([]byte, 40)
	ip[0] = 0x60
	if g.rarely(40) {
		ip[0] = 0x40
	}
	length := len(l4)
	if g.rarely(20) {
		length = g.one(0, 1, length-1, length+1, 65535)
	}
	binary.BigEndian.PutUint16(ip[4:], uint16(length))
	ip[6], ip[7] = next, 64
	for _, at := range []int{8, 24} {
		ip[at], ip[at+15] = 0xfd, byte(g.IntN(3))
		if g.rarely(60) {
			copy(ip[at:], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1})
		}
	}
	return append(append(b, ip...), l4...)
}

func (g *generator) transport(protocol byte) []byte {
	var h []byte
	payload := g.one(0, 0, 4, 8, 16, 40)
	if g.rarely(3) {
		if h := g.tunnel(protocol); h != nil {
			return h
		}
	}
	switch protocol {
	case packet.TCP:
		h = make([]byte, 20+4*g.one(0, 0, 3))
		h[12] = byte(len(h)/4) << 4
		if g.rarely(20) {
			h[12] = byte(g.one(0, 4, 15)) << 4
		}
		h[13] = 0x10 // an ACK opens nothing anew, so that counters are sums
	case packet.UDP:
		h = make([]byte, 8)
		length := 8 + payload
		if g.rarely(10) {
			length = g.one(0, 7, 8, length-1, length+1, 65535)
		}
		binary.BigEndian.PutUint16(h[4:], uint16(length))
	case packet.ICMP, packet.ICMPv6:
		h = make([]byte, 8)
		h[0] = byte(g.one(0, 8, 3, 13, 14, 42, 43, 128, 129, 160, 161, 135))
		h[1], h[5] = byte(g.IntN(2)), byte(g.IntN(2))
	}
	if len(h) > 0 && protocol != packet.ICMP && protocol != packet.ICMPv6 {
		h[1], h[3] = byte(g.IntN(3)), byte(g.IntN(3))
	}
	return append(h, make([]byte, payload)...)
}

// tunnel is what a tunnel's packet carries after its IP header; nil where the
// protocol is none's.
func (g *generator) tunnel(protocol byte) (h []byte) {
	udp := make([]byte, 8)
	bridged, v6 := false, g.rarely(2)
	switch protocol {
	case 4, 41:
		v6 = protocol == 41
	case 47:
		h = []byte{byte(g.one(0, 0, 0x80, 0x20, 0xb0)), byte(g.one(0, 0, 0, 1)), 0, 0}
		for _, flag := range []byte{0x80, 0x20, 0x10} {
			if h[0]&flag != 0 {
				h = append(h, 0, 0, 0, 0)
			}
		}
		bridged = g.rarely(2)
	case packet.UDP:
		port := g.one(4789, 8472, 6081, 6081)
		binary.BigEndian.PutUint16(udp[2:], uint16(port))
		h = make([]byte, 8)
		if bridged = port != 6081 || g.rarely(2); port == 6081 {
			h[0] = byte(g.one(0, 0, 1, 2, 63))
			h = append(h, make([]byte, 4*int(h[0])%100)...)
		}
	default:
		return nil
	}
	kind := map[bool]uint16{false: 0x0800, true: 0x86dd}[v6]
	if g.rarely(20) {
		kind = 0x0806
	}
	if bridged {
		if len(h) >= 4 {
			binary.BigEndian.PutUint16(h[2:], 0x6558)
		}
		h = binary.BigEndian.AppendUint16(append(h, make([]byte, 12)...), kind)
	} else if len(h) >= 4 {
		binary.BigEndian.PutUint16(h[2:], kind)
	}
	l4, inner := byte(g.one(6, 6, 17, 1)), make([]byte, 20)
	if v6 {
		inner = make([]byte, 40)
		inner[0], inner[6] = 0x60, l4
	} else {
		inner[0], inner[9] = byte(g.one(0x45, 0x45, 0x46, 0x40)), l4
		inner = append(inner, make([]byte, 4*(int(inner[0]&15)/6))...)
	}
	data := make([]byte, 20+g.one(0, 8, 100, 101, 300))
	data[12] = byte(g.one(0x50, 0x50, 0x80, 0xf0))
	h = append(append(h, inner...), data...)
	if protocol == packet.UDP {
		binary.BigEndian.PutUint16(udp[4:], uint16(8+len(h)))
		return append(udp, h...)
	}
	return h
}
