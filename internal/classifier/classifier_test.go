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
// the entry that decides, or -1.
func lookup(t *Tables, f *policy.Facts) int {
	if t.Chunks == 0 {
		return -1
	}
	direction := bits.TrailingZeros8(uint8(f.Direction)) + 1
	first, second := f.SourcePort, f.DestinationPort
	if f.Protocol == packet.ICMP || f.Protocol == packet.ICMPv6 {
		first, second = uint16(f.ICMPType), uint16(f.ICMPCode)
	}
	source, destination := t.Source4, t.Destination4
	if f.Source.Is6() {
		source, destination = t.Source6, t.Destination6
	}
	rows := [][]uint64{
		t.Row(longest(source, f.Source)), t.Row(longest(destination, f.Destination)),
		t.Row(int(t.Services.SourcePort[first])), t.Row(int(t.Services.DestinationPort[second])),
		t.Row(int(t.Services.Protocol[f.Protocol])), t.Row(int(t.Services.Direction[direction])),
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		all := true
		for _, row := range rows {
			all = all && row[i/64]>>(i%64)&1 != 0
		}
		if !all || e.Over > 0 && f.Age <= e.Over || e.Special != policy.NoSpecial {
			continue
		}
		return i
	}
	return -1
}

func longest(table []PrefixRow, a netip.Addr) int {
	best := table[0]
	for _, p := range table {
		if p.Prefix.Contains(a) && p.Prefix.Bits() >= best.Prefix.Bits() {
			best = p
		}
	}
	return int(best.Row)
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

// TestAgainstWalk holds the tables against the reference evaluator.
func TestAgainstWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy(t)
		tables, err := Compile(p, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			f := drawFacts(t)
			want := p.Walk(f).Index
			got := lookup(tables, f)
			if got >= 0 {
				got = int(tables.Entries[got].Rule)
			}
			if got != want {
				t.Fatalf("%+v: rule %d, want %d", f, got, want)
			}
		}
	})
}

func TestRefusesWhatDoesNotFit(t *testing.T) {
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range 60000 {
		fmt.Fprintf(&b, "- {name: r%d, action: allow, layer3: {source: 10.%d.%d.1}}\n", i, i>>8, i&255)
	}
	p, _, err := policy.Load(policy.Document{Name: "large", Content: []byte(b.String())})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Compile(p, time.Time{}); err == nil || !strings.Contains(err.Error(), "60001 distinct prefixes") {
		t.Fatalf("error %v, want the numbers", err)
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var text strings.Builder
			text.WriteString("rules:\n")
			for i := range n {
				fmt.Fprintf(&text, "- {name: r%d, action: allow, layer3: {destination: 10.%d.%d.0/24}, layer4: {tcp: %d}}\n", i, i>>8, i&255, i)
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
