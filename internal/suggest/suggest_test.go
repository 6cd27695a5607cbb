package suggest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

var at = time.Date(2026, 3, 2, 8, 30, 0, 0, time.UTC)

func seen(direction packet.Direction, protocol uint8, source, destination string, port uint16, name string) Seen {
	t := packet.Tuple{Source: netip.MustParseAddr(source), Destination: netip.MustParseAddr(destination), Protocol: protocol}
	if t.HasPorts() {
		t.SourcePort, t.DestinationPort = 50000, port
	}
	if t.IsICMP() {
		t.ICMPType = uint8(port)
	}
	return Seen{Direction: direction, Tuple: t, Name: name, First: at, Last: at.Add(time.Second), Count: 1}
}

func suggested(t interface{ Fatal(...any) }, c Config, all []Seen) (string, *policy.Policy) {
	s := New(c)
	for _, one := range all {
		s.Add(one)
	}
	text, err := s.YAML()
	if err != nil {
		t.Fatal(err)
	}
	p, warnings, err := policy.Load(policy.Document{Name: "p", Content: text})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings, string(text))
	}
	return string(text), p
}

func TestSuggest(t *testing.T) {
	out, in, fwd := packet.Outbound, packet.Inbound, packet.Forwarded
	tests := map[string]struct {
		seen []Seen
		want string // without comments and head
	}{
		"nothing": {nil, "rules: []"},
		"outbound": {
			[]Seen{seen(out, 6, "192.0.2.1", "203.0.113.7", 443, ""), seen(out, 6, "192.0.2.1", "203.0.113.9", 443, "")},
			"rules:\n  - name: out-tcp-443\n    action: allow\n    direction: outbound\n    layer3: {destination: [203.0.113.7, 203.0.113.9]}\n    layer4: {tcp: 443}",
		},
		"two services of the same ends are one rule": {
			[]Seen{seen(out, 6, "192.0.2.1", "192.0.2.53", 53, ""), seen(out, 17, "192.0.2.1", "192.0.2.53", 53, "")},
			"rules:\n  - name: out-tcp-53-udp-53\n    action: allow\n    direction: outbound\n    layer3: {destination: 192.0.2.53}\n    layer4: {tcp: 53, udp: 53}",
		},
		"names": {
			[]Seen{seen(out, 6, "192.0.2.1", "203.0.113.7", 443, "b.example"), seen(out, 6, "192.0.2.1", "203.0.113.8", 443, "A.Example.")},
			"rules:\n  - name: out-tcp-443-names\n    action: allow\n    direction: outbound\n    layer4: {tcp: 443}\n    layer7: {domains: [\"a.example\", \"b.example\"]}",
		},
		"what is no name goes by its address": {
			[]Seen{seen(out, 6, "192.0.2.1", "203.0.113.7", 443, "*.example"), seen(out, 6, "192.0.2.1", "203.0.113.7", 443, "x\"]}\nrules")},
			"rules:\n  - name: out-tcp-443\n    action: allow\n    direction: outbound\n    layer3: {destination: 203.0.113.7}\n    layer4: {tcp: 443}",
		},
		"inbound": {
			[]Seen{seen(in, 6, "198.51.100.1", "192.0.2.1", 22, ""), seen(in, 6, "2001:db8::5", "2001:db8::1", 22, "")},
			"rules:\n  - name: in-tcp-22\n    action: allow\n    direction: inbound\n    layer3: {source: [198.51.100.1, \"2001:db8::5\"]}\n    layer4: {tcp: 22}",
		},
		"forwarded": {
			[]Seen{
				seen(fwd, 6, "10.0.0.1", "192.0.2.1", 80, ""), seen(fwd, 6, "10.0.0.2", "192.0.2.1", 80, ""),
				seen(fwd, 6, "10.0.0.1", "192.0.2.2", 80, ""),
			},
			"rules:\n  - name: fwd-tcp-80\n    action: allow\n    direction: forwarded\n    layer3: {source: [10.0.0.1, 10.0.0.2], destination: 192.0.2.1}\n    layer4: {tcp: 80}\n" +
				"  - name: fwd-tcp-80.2\n    action: allow\n    direction: forwarded\n    layer3: {source: 10.0.0.1, destination: 192.0.2.2}\n    layer4: {tcp: 80}",
		},
		"icmp and others": {
			[]Seen{seen(out, 1, "192.0.2.1", "203.0.113.7", 8, ""), seen(in, 47, "198.51.100.1", "192.0.2.1", 0, "")},
			"rules:\n  - name: in-protocol-47\n    action: allow\n    direction: inbound\n    layer3: {source: 198.51.100.1, other_protocols: 47}\n" +
				"  - name: out-icmp\n    action: allow\n    direction: outbound\n    layer3: {destination: 203.0.113.7}\n    layer4: {icmp: {types: 8, codes: 0}}",
		},
		"safeguards": {
			[]Seen{seen(out, 58, "fe80::1", "ff02::1:ff00:1", 135, ""), {Direction: out, Tuple: packet.Tuple{
				Protocol: 17, Source: netip.IPv4Unspecified(), Destination: netip.MustParseAddr("255.255.255.255"), SourcePort: 68, DestinationPort: 67,
			}}},
			"rules: []",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text, _ := suggested(t, DefaultConfig(), tt.seen)
			var lines []string
			for line := range strings.Lines(text) {
				if !strings.HasPrefix(strings.TrimSpace(line), "#") && !strings.HasPrefix(line, "mode:") && !strings.HasPrefix(line, "default_action:") {
					lines = append(lines, strings.TrimSuffix(line, "\n"))
				}
			}
			if got := strings.Join(lines, "\n"); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestEvidence(t *testing.T) {
	first, second := seen(packet.Outbound, 6, "192.0.2.1", "203.0.113.7", 443, ""), seen(packet.Outbound, 6, "192.0.2.1", "203.0.113.9", 443, "")
	second.First, second.Last, second.Count = at.Add(time.Hour), at.Add(2*time.Hour), 4
	s := New(DefaultConfig())
	s.Add(second)
	s.Add(first)
	s.LeaveOut("blocked", 3)
	text, err := s.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# 5 connections, 2026-03-02T08:30:00Z to 2026-03-02T10:30:00Z; 1 rule.\n# Left out: 3 connections, blocked.\n",
		"  # 5 connections, 2026-03-02T08:30:00Z to 2026-03-02T10:30:00Z\n  # for example 192.0.2.1 → 203.0.113.7:443\n  # for example 192.0.2.1 → 203.0.113.9:443\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing from\n%s", want, text)
		}
	}
}

func TestCondense(t *testing.T) {
	many := func(format string, from, to int) []netip.Addr {
		var list []netip.Addr
		for i := from; i <= to; i++ {
			list = append(list, netip.MustParseAddr(fmt.Sprintf(format, i)))
		}
		return list
	}
	tests := map[string]struct {
		addresses []netip.Addr
		want      string
		wider     bool // than what was seen
	}{
		"one":        {many("192.0.2.%d", 7, 7), "192.0.2.7", false},
		"neighbors":  {many("192.0.2.%d", 6, 7), "192.0.2.6/31", false},
		"thin":       {many("192.0.2.%d", 7, 9), "192.0.2.7 192.0.2.8/31", false},
		"half":       {many("192.0.2.%d", 4, 7), "192.0.2.4/30", false},
		"half of 8":  {append(many("192.0.2.%d", 0, 2), many("192.0.2.%d", 5, 5)...), "192.0.2.0/29", true},
		"far apart":  {append(many("192.0.2.%d", 1, 1), many("198.51.100.%d", 1, 1)...), "192.0.2.1 198.51.100.1", false},
		"a network":  {append(many("192.0.2.%d", 1, 70), many("192.0.2.%d", 140, 200)...), "192.0.2.0/24", true},
		"few of v6":  {many("2001:db8::%x", 1, 3), "2001:db8::1 2001:db8::2 2001:db8::3", false},
		"many of v6": {many("2001:db8::%x", 1, 4), "2001:db8::/64", true},
		"not wider":  {append(many("10.0.0.%d", 0, 255), many("10.0.1.%d", 0, 255)...), "10.0.0.0/24 10.0.1.0/24", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			wider := false
			for _, p := range condense(tt.addresses) {
				got = append(got, text(p))
				wider = wider || isWider(p, tt.addresses)
			}
			if wider != tt.wider {
				t.Errorf("wider than what was seen: %t, want %t", wider, tt.wider)
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
}

func TestSpans(t *testing.T) {
	for _, tt := range []struct {
		ports []uint16
		most  int
		want  string
	}{
		{[]uint16{443, 80, 443}, 9, "[80 443] false"},
		{[]uint16{8002, 8000, 8001}, 9, "[8000-8002] false"},
		{[]uint16{65535, 0, 65534}, 9, "[0 65534-65535] false"},
		{[]uint16{1, 3, 100, 103, 1000}, 3, "[1-3 100-103 1000] true"},
		{[]uint16{1, 3, 100, 103, 1000}, 1, "[1-1000] true"},
	} {
		spans, widened := spansOf(tt.ports, tt.most)
		if got := fmt.Sprint(spans, " ", widened); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.ports, got, tt.want)
		}
	}
}

func TestGather(t *testing.T) {
	for _, tt := range []struct{ names, want string }{
		{"a.x.example b.x.example c.x.example", "*.x.example true"},
		{"a.x.example b.x.example", "a.x.example b.x.example false"},
		{"a.com b.com c.com", "a.com b.com c.com false"},
		{"a.co.uk b.co.uk c.co.uk", "a.co.uk b.co.uk c.co.uk false"},
		{"a.github.io b.github.io c.github.io", "a.github.io b.github.io c.github.io false"},
		{"a b c", "a b c false"},
	} {
		patterns, widened := gather(strings.Fields(tt.names), 2)
		if got := fmt.Sprint(strings.Join(patterns, " "), " ", widened); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.names, got, tt.want)
		}
	}
}

func drawSeen(t *rapid.T) Seen {
	address := func(what string) string {
		if rapid.IntRange(0, 3).Draw(t, what+" family") == 0 {
			return fmt.Sprintf("2001:db8:%x::%x", rapid.IntRange(0, 3).Draw(t, what), rapid.IntRange(1, 40).Draw(t, what))
		}
		return fmt.Sprintf("10.%d.%d.%d", rapid.IntRange(0, 1).Draw(t, what), rapid.IntRange(0, 2).Draw(t, what), rapid.IntRange(0, 255).Draw(t, what))
	}
	source, destination := address("source"), address("destination")
	if strings.Contains(source, ":") != strings.Contains(destination, ":") {
		destination = source
	}
	protocol := rapid.SampledFrom([]uint8{6, 6, 6, 17, 1, 47, 50}).Draw(t, "protocol")
	if protocol == 1 && strings.Contains(source, ":") {
		protocol = 58
	}
	port := rapid.SampledFrom([]uint16{22, 80, 81, 443, 8000, 8001, 40000, 65535, 0}).Draw(t, "port")
	name := ""
	if (protocol == 6 || protocol == 17) && rapid.Bool().Draw(t, "named") {
		name = fmt.Sprintf("h%d.n%d.example", rapid.IntRange(0, 12).Draw(t, "host"), rapid.IntRange(0, 2).Draw(t, "domain"))
	}
	s := seen(rapid.SampledFrom([]packet.Direction{packet.Inbound, packet.Outbound, packet.Forwarded}).Draw(t, "direction"), protocol, source, destination, port, name)
	if s.Tuple.IsICMP() {
		s.Tuple.ICMPCode = uint8(rapid.IntRange(0, 1).Draw(t, "code"))
	}
	return s
}

// Every connection that went in is allowed, by the walk, whatever the bounds.
func TestAllowsWhatWasSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Custom(drawSeen), 0, 120).Draw(t, "seen")
		c := DefaultConfig()
		c.MaxRules = rapid.SampledFrom([]int{1, 10, 100}).Draw(t, "rules")
		c.MaxAddresses = rapid.SampledFrom([]int{1, 5, 64}).Draw(t, "addresses")
		c.MaxPorts = rapid.SampledFrom([]int{1, 2, 32}).Draw(t, "ports")
		c.MaxSiblings = rapid.IntRange(1, 8).Draw(t, "siblings")
		text, p := suggested(t, c, all)
		if most := max(c.MaxRules, 9); len(p.Rules) > most {
			t.Fatalf("%d rules, and at most %d are wanted", len(p.Rules), most)
		}
		for _, s := range all {
			if d := p.Walk(Facts(&s)); d.Action != policy.Allow {
				t.Fatalf("%+v is not allowed: %+v\n%s", s, d, text)
			}
			// Before its name is known it is not blocked either.
			first := s
			first.Name = ""
			if d := p.Walk(Facts(&first)); s.Name != "" && d.Action == policy.Block {
				t.Fatalf("the first packet of %+v is blocked\n%s", s, text)
			}
		}
	})
}

// Within the bounds, nothing is allowed that no connection was near: the same
// direction and service, and an end of the same network or name of the same parent.
func TestAllowsLittleElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Custom(drawSeen), 0, 60).Draw(t, "seen")
		c := DefaultConfig()
		c.MaxRules, c.MaxAddresses = 1000, 1000
		text, p := suggested(t, c, all)
		for range 40 {
			x := drawSeen(t)
			if slices.ContainsFunc(all, func(s Seen) bool { return near(&s, &x) }) || safeguarded(&x) {
				continue
			}
			f := Facts(&x)
			if x.Name == "" {
				f.Application = policy.Is(policy.AppOther)
			}
			if d := p.Walk(f); d.Action != policy.Block {
				t.Fatalf("%+v is not blocked: %+v\n%s", x, d, text)
			}
		}
	})
}

// near says whether s may be a reason to allow x.
func near(s, x *Seen) bool {
	if s.Direction != x.Direction || s.Tuple.Protocol != x.Tuple.Protocol || s.Tuple.DestinationPort != x.Tuple.DestinationPort ||
		s.Tuple.ICMPType != x.Tuple.ICMPType || s.Tuple.ICMPCode != x.Tuple.ICMPCode {
		return false
	}
	network := func(a netip.Addr) netip.Prefix {
		bits := shortest4
		if a.Is6() {
			bits = shortest6
		}
		return netip.PrefixFrom(a, bits).Masked()
	}
	if x.Direction != packet.Outbound && network(s.Tuple.Source) != network(x.Tuple.Source) {
		return false
	}
	if x.Direction == packet.Inbound {
		return true
	}
	if s.Name != "" {
		return parent(s.Name) == parent(x.Name)
	}
	return network(s.Tuple.Destination) == network(x.Tuple.Destination)
}

// Thousands of sources of one service are any source, and the policy says so.
func TestManySources(t *testing.T) {
	s := New(DefaultConfig())
	for i := range 5000 {
		s.Add(seen(packet.Inbound, 6, fmt.Sprintf("10.%d.%d.1", i/250, i%250), "192.0.2.1", 443, ""))
	}
	text, err := s.YAML()
	if err != nil || !strings.Contains(string(text), "# wider than seen: there were 5000 sources in 5000 networks: any will do\n  - name: in-tcp-443\n    action: allow\n    direction: inbound\n    layer4: {tcp: 443}\n") {
		t.Errorf("%v\n%s", err, text)
	}
}

// Whatever a connection says, the policy can be read and allows it.
func FuzzSuggest(f *testing.F) {
	f.Add(uint8(2), uint8(6), []byte{192, 0, 2, 1, 203, 0, 113, 7}, uint16(443), "a.example")
	f.Add(uint8(1), uint8(17), make([]byte, 32), uint16(0), "*.x\"]\n")
	f.Add(uint8(3), uint8(58), make([]byte, 32), uint16(135), "xn--a.example.")
	f.Fuzz(func(t *testing.T, direction, protocol uint8, addresses []byte, port uint16, name string) {
		source, ok := netip.AddrFromSlice(addresses[:len(addresses)/2])
		destination, also := netip.AddrFromSlice(addresses[len(addresses)/2:])
		if !ok || !also || protocol == 1 && source.Is6() || protocol == 58 && source.Is4() {
			return
		}
		if source.Is4In6() || destination.Is4In6() {
			return // no packet's addresses
		}
		one := seen(packet.Direction(direction%3+1), protocol, source.String(), destination.String(), port, name)
		_, p := suggested(t, DefaultConfig(), []Seen{one})
		if d := p.Walk(Facts(&one)); usableName(name) == "" || !one.Tuple.HasPorts() {
			one.Name = ""
			if d = p.Walk(Facts(&one)); d.Action != policy.Allow && !safeguarded(&one) {
				t.Errorf("%+v is not allowed", one)
			}
		} else if d.Action != policy.Allow && !safeguarded(&one) {
			t.Errorf("%+v is not allowed: %+v", one, d)
		}
	})
}
