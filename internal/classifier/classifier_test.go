package classifier

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// lookup is bpf/walk.h in Go, without shadow and undecided rules. It returns
// the rule that decides, or -1.
func lookup(t *Tables, f *policy.Facts) int {
	if t.Chunks == 0 {
		return -1
	}
	direction := bits.TrailingZeros8(uint8(f.Direction)) + 1
	first, second := f.SourcePort, f.DestinationPort
	if f.Protocol == packet.ICMP || f.Protocol == packet.ICMPv6 {
		first, second = uint16(f.ICMPType), uint16(f.ICMPCode)
	}
	from, to := keyOf(f.Source), keyOf(f.Destination)
	source, destination := t.Source.IPv4.find(from), t.Destination.IPv4.find(to)
	if f.Source.Is6() {
		source, destination = t.Source.IPv6.find(from), t.Destination.IPv6.find(to)
	}
	matched := map[uint32]bool{} // by entry
	rows := []int{
		int(source.Row), int(destination.Row),
		int(t.Services.SourcePort[first]), int(t.Services.DestinationPort[second]), int(t.Services.Protocol[direction][f.Protocol]),
	}
	for i := range t.Chunks * RowWords * 64 {
		all := true
		for _, n := range rows {
			all = all && t.Row(n)[i/64]>>(i%64)&1 != 0
			if t.Row(n)[i/64] != 0 && (t.Summaries[n].Words[i/chunkBits]>>(i/64%64)&1 == 0 || t.Summaries[n].Chunks>>(i/chunkBits)&1 == 0) {
				panic("the summary hides a bit")
			}
		}
		if all {
			matched[uint32(i)] = true
		}
	}
	for _, l := range []struct {
		class Class
		other Key
	}{{source, to}, {destination, from}} {
		for _, i := range t.Items[l.class.First : l.class.First+l.class.Count] {
			if (i.AnyProtocol || i.Protocol == f.Protocol) && i.Direction&f.Direction != 0 &&
				i.Source.First <= first && first <= i.Source.Last && i.Destination.First <= second && second <= i.Destination.Last &&
				l.other.hasPrefix(i.Other, i.OtherBits) {
				matched[i.Entry] = true
			}
		}
	}
	best := -1
	for n := range matched {
		e := &t.Entries[n]
		if e.Over > 0 && f.Age <= e.Over || e.Special != policy.NoSpecial {
			continue
		}
		if best < 0 || e.Order < t.Entries[best].Order {
			best = int(n)
		}
	}
	if best < 0 {
		return -1
	}
	return int(t.Entries[best].Rule)
}

// find is bpf/trie.h in Go.
func (t *Trie) find(k Key) Class {
	slot := t.Root[k.High>>48]
	if !slot.IsNode {
		return slot.Class
	}
	current, n := k.High<<16, slot.Node
	for level := 0; ; level++ {
		if level == 8 {
			current = k.Low
		}
		child := current >> 58
		current <<= 6
		node := t.Nodes[n]
		upTo := uint64(2)<<child - 1
		if node.Inner>>child&1 == 0 {
			return t.Leaves[int(node.FirstLeaf)+bits.OnesCount64(node.Runs&upTo)-1]
		}
		n = node.FirstNode + uint32(bits.OnesCount64(node.Inner&upTo)) - 1
	}
}

// Few values, so that rules and packets meet.
var (
	someAddresses = []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "0.0.0.0/0", "2001:db8::/32", "2001:db8::1", "::/0", "10.1.2.3-10.1.3.9"}
	somePorts     = []string{"0", "53", "80", "443", "1024-65535", "80-443", "65535"}
	somePackets   = []string{"10.1.2.3", "10.1.2.4", "10.1.3.5", "10.9.9.9", "192.0.2.1", "2001:db8::1", "2001:db8::2", "fd00::1"}
	someICMP      = []string{"echo-request", "3", "8", "0"}
)

func list(t *rapid.T, from []string, label string) string {
	items := rapid.SliceOfN(rapid.SampledFrom(from), 1, 3).Draw(t, label)
	for i, item := range items {
		if rapid.IntRange(0, 4).Draw(t, label+"-except") == 0 && strings.Contains(label, "address") {
			item = "!" + item
		}
		items[i] = `"` + item + `"`
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func drawPolicy(t *rapid.T) *policy.Policy {
	var b strings.Builder
	b.WriteString("mode: prevent\nsafeguards: {loopback: false, icmp-errors: false, export: false, neighbor-discovery: false}\nrules:\n")
	for i := range rapid.IntRange(1, 80).Draw(t, "rules") {
		action := rapid.SampledFrom([]string{"allow", "block"}).Draw(t, "action")
		direction := rapid.SampledFrom([]string{"any", "inbound", "outbound", "forwarded"}).Draw(t, "direction")
		fmt.Fprintf(&b, "- {name: r%d, action: %s, direction: %s", i, action, direction)
		var l3 []string
		if rapid.Bool().Draw(t, "has source") {
			l3 = append(l3, "source: "+list(t, someAddresses, "source address"))
		}
		if rapid.Bool().Draw(t, "has destination") {
			l3 = append(l3, "destination: "+list(t, someAddresses, "destination address"))
		}
		if rapid.IntRange(0, 5).Draw(t, "other") == 0 {
			l3 = append(l3, "other_protocols: [gre, 132]")
		} else {
			var l4 []string
			if rapid.Bool().Draw(t, "tcp") {
				l4 = append(l4, "tcp: {source_ports: "+list(t, somePorts, "source port")+", duration: {over: 1h}}")
			}
			if rapid.Bool().Draw(t, "udp") {
				l4 = append(l4, "udp: {destination_ports: "+list(t, somePorts, "destination port")+"}")
			}
			if rapid.Bool().Draw(t, "icmp") {
				l4 = append(l4, "icmp: {types: "+list(t, someICMP, "type")+", codes: [0]}")
			}
			if len(l4) > 0 {
				fmt.Fprintf(&b, ", layer4: {%s}", strings.Join(l4, ", "))
			}
		}
		if len(l3) > 0 {
			fmt.Fprintf(&b, ", layer3: {%s}", strings.Join(l3, ", "))
		}
		b.WriteString("}\n")
	}
	p, _, err := policy.Load(policy.Document{Name: "generated", Content: []byte(b.String())})
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	return p
}

func drawFacts(t *rapid.T) *policy.Facts {
	source := netip.MustParseAddr(rapid.SampledFrom(somePackets).Draw(t, "source"))
	destination := netip.MustParseAddr(rapid.SampledFrom(somePackets).Draw(t, "destination"))
	if source.Is6() != destination.Is6() {
		destination = source
	}
	f := &policy.Facts{
		Source: source, Destination: destination,
		Direction: rapid.SampledFrom([]policy.DirectionSet{policy.Inbound, policy.Outbound, policy.Forwarded}).Draw(t, "direction"),
		Protocol:  rapid.SampledFrom([]uint8{1, 6, 17, 47, 50, 58, 132}).Draw(t, "protocol"),
		Age:       rapid.SampledFrom([]time.Duration{0, 2 * time.Hour}).Draw(t, "age"),
	}
	switch f.Protocol {
	case packet.TCP, packet.UDP:
		f.SourcePort = rapid.SampledFrom([]uint16{0, 53, 79, 80, 444, 1023, 1024, 65535}).Draw(t, "source port")
		f.DestinationPort = rapid.SampledFrom([]uint16{0, 53, 80, 100, 443, 65534, 65535}).Draw(t, "destination port")
	case packet.ICMP, packet.ICMPv6:
		f.ICMPType = rapid.SampledFrom([]uint8{0, 3, 8, 128, 129, 135}).Draw(t, "type")
		f.ICMPCode = rapid.SampledFrom([]uint8{0, 1}).Draw(t, "code")
	}
	return f
}

// TestAgainstWalk holds the tables against the reference evaluator, with all
// entries in the rows and with as many in lists as may be.
func TestAgainstWalk(t *testing.T) {
	for name, from := range map[string]int{"rows": listsFrom, "lists": 0} {
		t.Run(name, func(t *testing.T) {
			var items int
			rapid.Check(t, func(t *rapid.T) {
				p := drawPolicy(t)
				tables, err := compile(p, time.Time{}, from)
				if err != nil {
					t.Fatal(err)
				}
				items += len(tables.Items)
				for range 20 {
					f := drawFacts(t)
					if got, want := lookup(tables, f), p.Walk(f).Index; got != want {
						t.Fatalf("%+v: rule %d, want %d", f, got, want)
					}
				}
			})
			if (items > 0) != (from == 0) {
				t.Errorf("%d items in lists", items)
			}
		})
	}
}

func TestRefusesWhatDoesNotFit(t *testing.T) {
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range 60000 {
		fmt.Fprintf(&b, "- {name: r%d, action: allow, layer3: {source: [10.%d.%d.0/24, \"!10.%d.%d.1\"]}}\n", i, i>>8, i&255, i>>8, i&255)
	}
	p, _, err := policy.Load(policy.Document{Name: "large", Content: []byte(b.String())})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Compile(p, time.Time{}); err == nil || !strings.Contains(err.Error(), "rows of 7680 bytes, a bit for each of 60007 entries") {
		t.Fatalf("error %v, want the numbers", err)
	}
}

func BenchmarkCompile(b *testing.B) {
	kinds := map[string]func(i int) string{
		"destinations": func(i int) string {
			return fmt.Sprintf("layer3: {destination: 10.%d.%d.0/24}, layer4: {tcp: %d}", i>>8&255, i&255, 1+i%1000)
		},
		"pairs": func(i int) string {
			return fmt.Sprintf("layer3: {source: 2001:db8:%x::/48, destination: 2001:db8:%x::%x}, layer4: {tcp: [80, 443]}", i&0xff, i>>8, 1+i&0xffff)
		},
	}
	for kind, criteria := range kinds {
		for _, n := range []int{1000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				var text strings.Builder
				text.WriteString("rules:\n")
				for i := range n {
					fmt.Fprintf(&text, "- {name: r%d, action: allow, %s}\n", i, criteria(i))
				}
				p, _, err := policy.Load(policy.Document{Name: "large", Content: []byte(text.String())})
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if _, err := Compile(p, time.Time{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
