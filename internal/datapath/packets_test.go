package datapath

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// The programs' answers (bpf/maps.h).
const (
	pass     = ^uint32(0)
	drop     = 2
	redirect = 7
)

// frame builds an Ethernet frame with one IP packet. TCP is a bare SYN, ICMP an
// echo-like query; other protocols carry eight zero bytes.
func frame(tp packet.Tuple) []byte {
	var l4 []byte
	switch tp.Protocol {
	case packet.TCP:
		l4 = make([]byte, 20)
		binary.BigEndian.PutUint16(l4, tp.SourcePort)
		binary.BigEndian.PutUint16(l4[2:], tp.DestinationPort)
		l4[12], l4[13] = 5<<4, 2
	case packet.UDP:
		l4 = make([]byte, 8)
		binary.BigEndian.PutUint16(l4, tp.SourcePort)
		binary.BigEndian.PutUint16(l4[2:], tp.DestinationPort)
		l4[5] = 8
	default:
		l4 = make([]byte, 8)
		l4[0], l4[1] = tp.ICMPType, tp.ICMPCode
		binary.BigEndian.PutUint16(l4[4:], tp.ICMPID)
	}
	ethernet := make([]byte, 14)
	ethernet[0], ethernet[6] = 2, 2
	if tp.Source.Is4() {
		ip := make([]byte, 20)
		ip[0], ip[8], ip[9] = 0x45, 64, tp.Protocol
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(l4)))
		copy(ip[12:], tp.Source.AsSlice())
		copy(ip[16:], tp.Destination.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip))
		ethernet[12] = 0x08
		return append(append(ethernet, ip...), l4...)
	}
	ip := make([]byte, 40)
	ip[0], ip[6], ip[7] = 0x60, tp.Protocol, 64
	binary.BigEndian.PutUint16(ip[4:], uint16(len(l4)))
	copy(ip[8:], tp.Source.AsSlice())
	copy(ip[24:], tp.Destination.AsSlice())
	ethernet[12], ethernet[13] = 0x86, 0xdd
	return append(append(ethernet, ip...), l4...)
}

// onesSum is the sum of RFC 1071 over a header of even length.
func onesSum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// rightChecksum gives a frame with an IPv4 header its checksum.
func rightChecksum(b []byte) {
	if header := int(b[14]&15) * 4; header >= 20 && len(b) >= 14+header {
		b[24], b[25] = 0, 0
		binary.BigEndian.PutUint16(b[24:], ^onesSum(b[14:14+header]))
	}
}

// run sends a frame through a program without a network.
func run(t testing.TB, program *ebpf.Program, frame []byte) uint32 {
	t.Helper()
	answer, err := program.Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		t.Fatalf("run program on %x: %v", frame, err)
	}
	return answer
}

// entry finds the flow-table entry of a tuple.
func entry(t testing.TB, d *Datapath, tp packet.Tuple) (f bpf.ConnectionsFlow) {
	t.Helper()
	k, _ := flowKey(tp)
	if err := d.objects.Flows.Lookup(k, &f); err != nil {
		t.Fatalf("no entry of %+v: %v", tp, err)
	}
	return f
}

func address(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestBadFrames: whatever the bytes, there is an answer and a counter for it.
func TestBadFrames(t *testing.T) {
	d := open(t)
	swap(t, d, load(t, "mode: prevent\nnon_ip: block\nrules: [{name: none, action: allow, layer3: {source: 192.0.2.1}}]"))
	random := rand.New(rand.NewPCG(1, 2))
	whole := frame(packet.Tuple{
		Source: address("10.0.0.1"), Destination: address("10.0.0.2"),
		Protocol: packet.TCP, SourcePort: 1, DestinationPort: 2,
	})
	const rounds = 50000
	var sent, passed, dropped int
	for i := range rounds {
		b := make([]byte, 14+random.IntN(200))
		for j := range b {
			b[j] = byte(random.Uint32())
		}
		switch i % 4 {
		case 0: // right ethertype
			copy(b[12:], [][]byte{{0x08, 0}, {0x86, 0xdd}, {0x81, 0}}[i/4%3])
		case 1: // right header, too
			copy(b, whole[:14+random.IntN(len(whole)-14)])
		case 2: // cut anywhere
			b = whole[:14+random.IntN(len(whole)-13)]
		}
		if len(b) < 14+40 && b[12] == 0x86 || len(b) < 14+20 {
			continue // the kernel's test run itself asks for a whole IP header
		}
		if random.IntN(8) > 0 && b[12] == 0x08 {
			rightChecksum(b)
		}
		sent++
		switch answer := run(t, d.objects.Ingress, b); answer {
		case pass:
			passed++
		case drop:
			dropped++
		default:
			t.Fatalf("answer %d to %x", answer, b)
		}
	}
	counters, err := d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]uint64{}
	for _, c := range counters {
		counted[c.Name] = c.Count
	}
	perEnd, err := d.Traffic()
	if err != nil {
		t.Fatal(err)
	}
	var traffic uint64
	for _, c := range perEnd {
		traffic += c.Packets
	}
	causes := counted["malformed_dropped"] + counted["fragment_dropped"] + counted["non_ip_dropped"] + counted["related_icmp"]
	if causes+traffic != uint64(sent) {
		t.Errorf("%d frames, but %d counted by cause and %d as traffic", sent, causes, traffic)
	}
	if dropped == 0 || traffic == 0 || counted["malformed_dropped"] == 0 || counted["fragment_dropped"] == 0 {
		t.Errorf("%d dropped, %d traffic, %v: the frames are too much of one kind", dropped, traffic, counted)
	}
	t.Logf("%d passed, %d dropped, %v", passed, dropped, counted)
}
