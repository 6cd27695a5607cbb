package datapath

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/classifier"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// TestLargePolicies holds the kernel against the reference at policies that are
// large enough for lists: every kind of rule, addresses that nest and overlap.
func TestLargePolicies(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	d := open(t)
	for _, n := range []int{3000, 6000, 20_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			p := load(t, largePolicy(r, n))
			swap(t, d, p)
			tables, err := classifier.Compile(p, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if has := len(tables.Items) > 0; has != (n > 4096) {
				t.Errorf("%d items in lists", len(tables.Items))
			}
			rules := map[uint32]int{}
			for range 4000 {
				tp := largeTuple(r)
				f := &policy.Facts{
					Source: tp.Source, Destination: tp.Destination, Protocol: tp.Protocol, Direction: policy.Forwarded,
					SourcePort: tp.SourcePort, DestinationPort: tp.DestinationPort, ICMPType: tp.ICMPType, ICMPCode: tp.ICMPCode,
				}
				forget(t, d)
				run(t, d.objects.Ingress, frame(tp))
				got := entry(t, d, tp).Rule
				if want := uint32(p.Walk(f).Index); got != want {
					t.Fatalf("%+v: rule %d, want %d", tp, int32(got), int32(want))
				}
				rules[got]++
			}
			if len(rules) < 200 || rules[NoRule] == 0 {
				t.Errorf("%d rules decided, none in %d cases: the packets are too much of one kind", len(rules), rules[NoRule])
			}
		})
	}
}

func largePolicy(r *rand.Rand, n int) string {
	var b strings.Builder
	b.WriteString("mode: prevent\nreject: never\nsafeguards: {loopback: false, export: false, neighbor-discovery: false, dhcp: false, icmp-errors: false}\n")
	b.WriteString("groups: {addresses: {some: [10.0.16.0/20, 10.0.3.1, 'fd00::3:0/112', 10.0.9.1-10.0.9.77]}}\nrules:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {name: r%d, action: %s", i, []string{"allow", "block"}[r.IntN(2)])
		if r.IntN(4) == 0 {
			fmt.Fprintf(&b, ", direction: %s", []string{"forwarded", "inbound"}[r.IntN(2)])
		}
		if r.IntN(50) == 0 {
			b.WriteString(", mode: detect")
		}
		source, destination := largeAddresses(r), largeAddresses(r)
		if r.IntN(8) > 0 && source != "" {
			destination = ""
		}
		if source == "" && destination == "" {
			destination = largePrefix(r, 24)
		}
		b.WriteString(", layer3: {")
		if source != "" {
			fmt.Fprintf(&b, "source: [%s], ", source)
		}
		if destination != "" {
			fmt.Fprintf(&b, "destination: [%s]", destination)
		}
		b.WriteString("}")
		switch r.IntN(6) {
		case 0:
			fmt.Fprintf(&b, ", layer4: {tcp: [%d, %d-%d]}", r.IntN(20), 30+r.IntN(10), 40+r.IntN(10))
		case 1:
			fmt.Fprintf(&b, ", layer4: {udp: {source_ports: %d}, tcp: {}}", r.IntN(30))
		case 2:
			fmt.Fprintf(&b, ", layer4: {icmp: {types: [8, 13], codes: 0}}")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func largeAddresses(r *rand.Rand) string {
	switch r.IntN(12) {
	case 0, 1, 2:
		return ""
	case 3:
		return largePrefix(r, 0) + ", '!" + strings.Trim(largePrefix(r, 24), "'") + "'"
	case 4:
		return largePrefix(r, 20) + ", " + largePrefix(r, 26)
	case 5:
		if r.IntN(20) == 0 {
			return "group:some"
		}
	}
	return largePrefix(r, 24)
}

// largePrefix is one of 10.0/16 or fd00::/96 of the given length or longer.
func largePrefix(r *rand.Rand, shortest int) string {
	a, length := largeAddress(r, r.IntN(3) == 0), shortest+r.IntN(33-shortest)
	if r.IntN(1000) > 0 { // wide ones hide those after them
		length = max(length, 29)
	}
	if a.Is6() {
		length += 96
	}
	return fmt.Sprintf("'%v'", netip.PrefixFrom(a, length).Masked())
}

func largeAddress(r *rand.Rand, v6 bool) netip.Addr {
	high, low := byte(r.IntN(64)), byte(r.IntN(256))
	if v6 {
		a := netip.MustParseAddr("fd00::").As16()
		a[14], a[15] = high, low
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte{10, 0, high, low})
}

func largeTuple(r *rand.Rand) packet.Tuple {
	v6 := r.IntN(3) == 0
	tp := packet.Tuple{
		Source: largeAddress(r, v6), Destination: largeAddress(r, v6),
		Protocol: []uint8{packet.TCP, packet.UDP, packet.ICMP, 47}[r.IntN(4)],
	}
	if r.IntN(20) == 0 {
		tp.Source = tp.Destination.Prev()
	}
	if !v6 && r.IntN(50) == 0 { // what no rule is about
		tp.Source, tp.Destination = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	}
	if v6 && tp.Protocol == packet.ICMP {
		tp.Protocol = packet.TCP
	}
	if tp.HasPorts() {
		tp.SourcePort, tp.DestinationPort = uint16(r.IntN(30)), uint16(r.IntN(55))
	}
	if tp.Protocol == packet.ICMP {
		tp.ICMPType = []uint8{8, 13, 5}[r.IntN(3)]
	}
	return tp
}
