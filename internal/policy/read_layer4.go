package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var (
	transportKeys = []string{"tcp", "udp", "icmp", "icmpv6"}
	tcpKeys       = []string{"source_ports", "destination_ports", "duration"}
	udpKeys       = []string{"source_ports", "destination_ports"}
	icmpKeys      = []string{"types", "codes"}
)

const (
	acceptedPorts = "0-65535 or a range 8000-8100"
	acceptedCodes = "0-255 or a range 0-3"
)

// layer4 reads the alternatives of the transport.
func (c *cursor) layer4(r *Rule) {
	if c.n.Kind != yaml.MappingNode {
		c.list("tcp, udp, icmp, icmpv6, or a mapping with these keys", func(at *cursor) {
			if i, ok := at.word(transportKeys...); ok {
				r.Transports = append(r.Transports, Transport{Protocol: []uint8{protocolTCP, protocolUDP, protocolICMP, protocolICMPv6}[i]})
			}
		})
		return
	}
	f, _ := c.mapping(transportKeys)
	for _, v := range f {
		switch v.key {
		case "tcp":
			r.Transports = append(r.Transports, v.ports(protocolTCP, tcpKeys))
		case "udp":
			r.Transports = append(r.Transports, v.ports(protocolUDP, udpKeys))
		case "icmp", "icmpv6":
			r.Transports = append(r.Transports, v.icmp(v.key == "icmpv6")...)
		}
	}
}

// ports reads the criteria of TCP or UDP; anything but a mapping is the short
// form, the destination ports.
func (c *cursor) ports(protocol uint8, keys []string) Transport {
	t := Transport{Protocol: protocol}
	if c.n.Kind != yaml.MappingNode {
		t.Destination = c.ranges(65535, acceptedPorts, "port")
		return t
	}
	f, _ := c.mapping(keys)
	if v := f.get("source_ports"); v != nil {
		t.Source = v.ranges(65535, acceptedPorts, "port")
	}
	if v := f.get("destination_ports"); v != nil {
		t.Destination = v.ranges(65535, acceptedPorts, "port")
	}
	if v := f.get("duration"); v != nil {
		t.Over = v.over()
	}
	return t
}

func (c *cursor) over() time.Duration {
	f, ok := c.mapping([]string{"over"})
	if !ok {
		return 0
	}
	v := f.get("over")
	if v == nil {
		c.fail("there is no duration", "{over: 1h}", "")
		return 0
	}
	return v.duration()
}

func (c *cursor) ranges(most uint16, accepted, what string) []Range {
	var ranges []Range
	c.list(accepted, func(at *cursor) {
		if r, ok := at.numbers(most, accepted, what); ok {
			ranges = append(ranges, r)
		}
	})
	return ranges
}

// numbers reads a number or a range of numbers.
func (c *cursor) numbers(most uint16, accepted, what string) (Range, bool) {
	s, ok := c.text(accepted)
	if !ok {
		return Range{}, false
	}
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	from, ok := number(first, most)
	if !ok {
		c.fail(notNumber(s, isRange, what), accepted, "")
		return Range{}, false
	}
	to, ok := number(last, most)
	if !ok {
		c.fail(notNumber(s, isRange, what), accepted, "")
		return Range{}, false
	}
	if to < from {
		c.fail(s+" ends before it begins", accepted, "did you mean "+last+"-"+first+"?")
		return Range{}, false
	}
	return Range{from, to}, true
}

func notNumber(s string, isRange bool, what string) string {
	if _, err := strconv.Atoi(s); err != nil {
		s = quote(s)
	}
	if isRange {
		return s + " is not a range of " + what + "s"
	}
	return s + " is not a " + what
}

// number reads decimal digits only: no sign, no octal that looks like decimal.
func number(s string, most uint16) (uint16, bool) {
	if len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n > uint64(most) || s[0] == '+' {
		return 0, false
	}
	return uint16(n), true
}

// icmp reads the criteria of ICMP; anything but a mapping is the short form, the
// types. Under icmp a type by name means both families, by number IPv4.
func (c *cursor) icmp(v6 bool) []Transport {
	v4Transport := Transport{Protocol: protocolICMP}
	v6Transport := Transport{Protocol: protocolICMPv6}
	types, codes := c, (*cursor)(nil)
	if c.n.Kind == yaml.MappingNode {
		f, _ := c.mapping(icmpKeys)
		types, codes = f.get("types"), f.get("codes")
	}
	if types != nil {
		types.list(acceptedTypes(v6), func(at *cursor) { at.icmpType(v6, &v4Transport, &v6Transport) })
	}
	if codes != nil {
		v4Transport.Destination = codes.ranges(255, acceptedCodes, "code")
		v6Transport.Destination = v4Transport.Destination
	}
	var transports []Transport
	if !v6 && (types == nil || len(v4Transport.Source) > 0) {
		transports = append(transports, v4Transport)
	}
	if v6 || len(v6Transport.Source) > 0 {
		transports = append(transports, v6Transport)
	}
	return transports
}

// icmpType reads one type into the transports that it belongs to.
func (c *cursor) icmpType(v6 bool, v4Transport, v6Transport *Transport) {
	accepted := acceptedTypes(v6)
	s, ok := c.text(accepted)
	if !ok {
		return
	}
	if s[0] >= '0' && s[0] <= '9' {
		r, ok := c.numbers(255, accepted, "type")
		switch {
		case !ok:
		case v6:
			v6Transport.Source = append(v6Transport.Source, r)
		default:
			v4Transport.Source = append(v4Transport.Source, r)
		}
		return
	}
	n4, is4 := icmpTypes[s]
	n6, is6 := icmpv6Types[s]
	switch {
	case v6 && !is6 && is4:
		c.fail(quote(s)+" is no type of ICMPv6", accepted, "it is one of icmp")
		return
	case !is4 && !is6:
		hint := ""
		if near := nearest(s, icmpTypeNames); near != "" {
			hint = "did you mean " + near + "?"
		}
		c.fail(quote(s)+" is not a type", accepted, hint)
		return
	}
	if is4 && !v6 {
		v4Transport.Source = append(v4Transport.Source, Range{n4, n4})
	}
	if is6 {
		v6Transport.Source = append(v6Transport.Source, Range{n6, n6})
	}
}

func acceptedTypes(v6 bool) string {
	if v6 {
		return "0-255, a range 1-4, or a name such as packet-too-big"
	}
	return "0-255, a range 11-12, or a name such as echo-request"
}

// The types by name (IANA, in words of RFC 792 and RFC 4443).
var (
	icmpTypes = map[string]uint16{
		"echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
		"router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "parameter-problem": 12,
		"timestamp-request": 13, "timestamp-reply": 14, "address-mask-request": 17, "address-mask-reply": 18,
		"extended-echo-request": 42, "extended-echo-reply": 43,
	}
	icmpv6Types = map[string]uint16{
		"destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
		"echo-request": 128, "echo-reply": 129, "multicast-listener-query": 130,
		"multicast-listener-report": 131, "multicast-listener-done": 132, "router-solicitation": 133,
		"router-advertisement": 134, "neighbor-solicitation": 135, "neighbor-advertisement": 136, "redirect": 137,
		"router-renumbering": 138, "multicast-listener-report-v2": 143, "extended-echo-request": 160,
		"extended-echo-reply": 161,
	}
	icmpTypeNames = func() []string {
		names := slices.Collect(maps.Keys(icmpTypes))
		for name := range icmpv6Types {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}()
)
