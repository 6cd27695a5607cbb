package suggest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// YAML is the policy, with the evidence as comments.
func (s *Suggestion) YAML() ([]byte, error) {
	rules := s.rules()
	var b strings.Builder
	fmt.Fprintf(&b, "# %s, %s; %s.\n", count(s.count, "connection"), s.period(), count(uint64(len(rules)), "rule"))
	for _, why := range slices.Sorted(maps.Keys(s.leftOut)) {
		fmt.Fprintf(&b, "# Left out: %s, %s.\n", count(s.leftOut[why], "connection"), why)
	}
	fmt.Fprintf(&b, "mode: %s\ndefault_action: block\n", s.config.Mode)
	if len(rules) == 0 {
		b.WriteString("rules: []\n")
	} else {
		b.WriteString("rules:\n")
	}
	names := map[string]bool{}
	for i := range rules {
		rules[i].write(&b, names, s.config)
	}
	text := []byte(b.String())
	// What cannot be read would be a fault here, and is not to be found by whoever
	// puts it in force.
	if _, _, err := policy.Load(policy.Document{Name: "the suggested policy", Content: text}); err != nil {
		return nil, fmt.Errorf("check the suggestion: %w", err)
	}
	return text, nil
}

func (e *evidence) period() string {
	if e.count == 0 || e.first.IsZero() {
		return "never"
	}
	first, last := e.first.UTC().Format(time.RFC3339), e.last.UTC().Format(time.RFC3339)
	if first == last {
		return first
	}
	return first + " to " + last
}

func count(n uint64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func (x example) String() string {
	t := x.tuple
	s := t.Source.String() + " → " + t.Destination.String()
	if t.HasPorts() {
		s = t.Source.String() + " → " + netip.AddrPortFrom(t.Destination, t.DestinationPort).String()
	}
	if x.name != "" {
		s += " (" + x.name + ")"
	}
	return s
}

func (r *rule) write(b *strings.Builder, names map[string]bool, c Config) {
	var layer4 []string
	for _, of := range r.transports() {
		line, widened := of.text(c.MaxPorts)
		if widened {
			r.note("ranges also hold ports that were not seen")
		}
		layer4 = append(layer4, line)
	}
	fmt.Fprintf(b, "  # %s, %s\n", count(r.evidence.count, "connection"), r.evidence.period())
	for _, x := range r.evidence.examples {
		fmt.Fprintf(b, "  # for example %s\n", x)
	}
	for _, n := range r.notes {
		fmt.Fprintf(b, "  # wider than seen: %s\n", n)
	}
	fmt.Fprintf(b, "  - name: %s\n    action: allow\n    direction: %s\n", r.name(names), r.direction)
	var layer3 []string
	if r.ends.sources != nil {
		layer3 = append(layer3, "source: "+prefixList(r.ends.sources))
	}
	if r.ends.destinations != nil {
		layer3 = append(layer3, "destination: "+prefixList(r.ends.destinations))
	}
	if others := r.otherProtocols(); len(others) > 0 {
		layer3 = append(layer3, "other_protocols: "+flowList(others))
	}
	if len(layer3) > 0 {
		fmt.Fprintf(b, "    layer3: {%s}\n", strings.Join(layer3, ", "))
	}
	if len(layer4) > 0 {
		fmt.Fprintf(b, "    layer4: {%s}\n", strings.Join(layer4, ", "))
	}
	if len(r.ends.names) > 0 {
		fmt.Fprintf(b, "    layer7: {domains: %s}\n", flowList(quoted(r.ends.names)))
	}
}

// quoted quotes the patterns that YAML would take for aliases, and names that it
// would take for something else.
func quoted(names []string) []string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = strconv.Quote(name)
	}
	return list
}

func prefixList(prefixes []netip.Prefix) string {
	list := make([]string, len(prefixes))
	for i, p := range prefixes {
		list[i] = text(p)
		if p.Addr().Is6() {
			list[i] = strconv.Quote(list[i])
		}
	}
	return flowList(list)
}

// flowList is a list on one line, of one entry the entry.
func flowList(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// transport is what a rule asks of one protocol of layer4.
type transport struct {
	protocol uint8
	numbers  []uint16
}

var transportNames = map[uint8]string{packet.TCP: "tcp", packet.UDP: "udp", packet.ICMP: "icmp", packet.ICMPv6: "icmpv6"}

func (r *rule) transports() []transport {
	var all []transport
	for _, protocol := range []uint8{packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6} {
		t := transport{protocol: protocol}
		for _, s := range r.services {
			if s.protocol == protocol {
				t.numbers = append(t.numbers, s.number)
			}
		}
		if len(t.numbers) > 0 {
			all = append(all, t)
		}
	}
	return all
}

func (r *rule) otherProtocols() []string {
	var numbers []uint16
	for _, s := range r.services {
		if transportNames[s.protocol] == "" {
			numbers = append(numbers, uint16(s.protocol))
		}
	}
	slices.Sort(numbers)
	return numerals(slices.Compact(numbers))
}

func (t *transport) text(most int) (line string, widened bool) {
	name := transportNames[t.protocol]
	if t.protocol == packet.ICMP || t.protocol == packet.ICMPv6 {
		return name + ": " + t.icmpText(), false
	}
	spans, widened := spansOf(t.numbers, most)
	list := make([]string, len(spans))
	for i, s := range spans {
		list[i] = s.String()
	}
	return name + ": " + flowList(list), widened
}

// icmpText names the types, and the codes where all types have the same.
func (t *transport) icmpText() string {
	numbers := slices.Clone(t.numbers)
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	var types, codes []uint16
	for _, n := range numbers {
		types, codes = append(types, n>>8), append(codes, n&0xff)
	}
	types = slices.Compact(types) // in order already
	slices.Sort(codes)
	codes = slices.Compact(codes)
	text := "{types: " + flowList(numerals(types))
	if len(types)*len(codes) == len(numbers) {
		text += ", codes: " + flowList(numerals(codes))
	}
	return text + "}"
}

func numerals(numbers []uint16) []string {
	list := make([]string, len(numbers))
	for i, n := range numbers {
		list[i] = strconv.Itoa(int(n))
	}
	return list
}

// name is made of direction and services, and a number where it is taken.
func (r *rule) name(taken map[string]bool) string {
	parts := []string{map[packet.Direction]string{packet.Inbound: "in", packet.Outbound: "out", packet.Forwarded: "fwd"}[r.direction]}
	for _, t := range r.transports() {
		parts = append(parts, transportNames[t.protocol])
		if t.protocol == packet.TCP || t.protocol == packet.UDP {
			spans, _ := spansOf(t.numbers, 1<<16)
			for i, s := range spans {
				if i == 2 && len(spans) > 3 {
					parts = append(parts, "more")
					break
				}
				parts = append(parts, s.String())
			}
		}
	}
	if others := r.otherProtocols(); len(others) > 0 {
		parts = append(parts, "protocol", others[0])
	}
	if n := r.ends.names; len(n) > 0 {
		parts = append(parts, "names")
		if len(n) == 1 && len(n[0]) < 60 {
			parts[len(parts)-1] = strings.TrimPrefix(n[0], "*.")
		}
	}
	base := strings.Join(parts, "-")
	name := base
	for n := 2; taken[name]; n++ {
		name = base + "." + strconv.Itoa(n)
	}
	taken[name] = true
	return name
}
