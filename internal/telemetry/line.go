package telemetry

import (
	"net/netip"
	"strconv"

	"github.com/weirnet/weir/internal/packet"
)

// Line is the record as one readable line, the body of its log record.
//
//	allowed   outbound tcp 192.0.2.2:41822 → 203.0.113.7:443 eth0 rule=web-api
//	end       outbound tcp 192.0.2.2:41822 → 203.0.113.7:443 eth0 rule=web-api fin 1.2s ↑ 3.1 kB/12 ↓ 45 kB/40
func (c *Connection) Line() string {
	return string(c.appendLine(make([]byte, 0, 160)))
}

// Width of the columns that begin a line.
const (
	wordWidth      = len("detected") + 2
	directionWidth = len("outbound")
)

// appendLine is the one place that knows the format of the lines about
// connections.
func (c *Connection) appendLine(line []byte) []byte {
	line = appendHead(line, c.word(), c.Direction, &c.Tuple, c.folded(), c.Interface)
	if c.Protocol != "" {
		line = append(line, ' ')
		line = append(line, c.Protocol...)
	}
	line = c.Judgement.appendTo(line, c.Kind)
	if c.Kind == ConnectionEnd {
		line = append(line, ' ')
		line = append(line, c.End.String()...)
	}
	if c.folded() {
		line = append(line, " ×"...)
		line = strconv.AppendUint(line, c.Count, 10)
		line = append(line, " in"...)
	}
	if c.Kind == ConnectionEnd || c.folded() {
		line = append(line, ' ')
		line = appendDuration(line, c.Duration())
	}
	if c.counted() && c.Kind != ConnectionVerdict {
		line = appendCounts(append(line, " ↑ "...), c.Source)
		line = appendCounts(append(line, " ↓ "...), c.Destination)
	}
	return line
}

// appendHead writes what every line about a connection begins with.
func appendHead(line []byte, word string, direction packet.Direction, t *packet.Tuple, folded bool, name string) []byte {
	line = appendPadded(line, word, wordWidth)
	line = appendPadded(line, direction.String(), directionWidth)
	line = append(line, ' ')
	line = append(line, transportName(t.Protocol)...)
	line = append(line, ' ')
	line = appendTuple(line, t, folded)
	if name != "" {
		line = append(line, ' ')
		line = append(line, clean(name)...)
	}
	return line
}

// word is the first column: what became of the connection, or what the record
// is about.
func (c *Connection) word() string {
	switch c.Kind {
	case ConnectionVerdict:
		return "verdict"
	case ConnectionUpdate:
		return "update"
	case ConnectionEnd:
		return "end"
	}
	return c.Judgement.Verdict.String()
}

// appendTuple writes the ends of a connection.
func appendTuple(line []byte, t *packet.Tuple, folded bool) []byte {
	line = appendEnd(line, t, t.Source, t.SourcePort, folded)
	line = append(line, " → "...)
	line = appendEnd(line, t, t.Destination, t.DestinationPort, folded)
	if t.IsICMP() && t.Destination.IsValid() {
		line = append(line, " type "...)
		line = strconv.AppendUint(line, uint64(t.ICMPType), 10)
		line = append(line, '/')
		line = strconv.AppendUint(line, uint64(t.ICMPCode), 10)
	}
	return line
}

// appendEnd writes an end; one that the connections of a fold do not share is
// "any".
func appendEnd(line []byte, t *packet.Tuple, address netip.Addr, port uint16, folded bool) []byte {
	if !address.IsValid() {
		return append(line, "any"...)
	}
	if t.HasPorts() && port == 0 && folded {
		return append(address.AppendTo(line), ":any"...)
	}
	if t.HasPorts() {
		return netip.AddrPortFrom(address, port).AppendTo(line)
	}
	return address.AppendTo(line)
}

// appendTo writes the judgement's part of a line about a record of that kind.
func (j *Judgement) appendTo(line []byte, kind Kind) []byte {
	switch {
	case kind == ConnectionVerdict:
		line = append(line, " now "...)
		line = append(line, j.Verdict.String()...)
	case kind > ConnectionEnd && j.Verdict == Blocked:
		line = append(line, " blocked"...)
	}
	if j.Action == Block && j.Verdict != Blocked {
		line = append(line, " would block"...)
	}
	switch {
	case j.Rule != "":
		line = append(line, " rule="...)
		line = append(line, clean(j.Rule)...)
	case j.Reason != ReasonNone && j.Reason != ReasonPending:
		line = append(line, " reason="...)
		line = append(line, j.Reason.String()...)
	}
	if j.ShadowAction != NoAction {
		line = append(line, " shadow="...)
		line = append(line, j.ShadowAction.String()...)
		if j.ShadowRule != "" {
			line = append(line, ':')
			line = append(line, clean(j.ShadowRule)...)
		}
	}
	return line
}

// appendCounts writes bytes and packets of one end: "3.1 kB/12".
func appendCounts(line []byte, counts Counts) []byte {
	line = appendBytes(line, counts.Bytes)
	line = append(line, '/')
	return strconv.AppendUint(line, counts.Packets, 10)
}

func appendPadded(line []byte, word string, width int) []byte {
	line = append(line, word...)
	for i := len(word); i < width; i++ {
		line = append(line, ' ')
	}
	return line
}

// Line is the change as one readable line, the body of its log record.
//
//	policy    loaded generation 7 from policy.yaml: 12 rules
func (p *PolicyChange) Line() string {
	line := appendPadded(make([]byte, 0, 120), "policy", wordWidth)
	line = append(line, p.Change.String()...)
	if p.Generation != 0 {
		line = append(line, " generation "...)
		line = strconv.AppendUint(line, p.Generation, 10)
	}
	if p.Source != "" {
		line = append(line, " from "...)
		line = append(line, clean(p.Source)...)
	}
	if p.Detail != "" {
		line = append(line, ": "...)
		line = append(line, clean(p.Detail)...)
	}
	return string(line)
}
