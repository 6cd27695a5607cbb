package telemetry

import (
	"net/netip"
	"strconv"
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
	line = appendPadded(line, c.word(), wordWidth)
	line = appendPadded(line, c.Direction.String(), directionWidth)
	line = append(line, ' ')
	line = append(line, transportName(c.Tuple.Protocol)...)
	line = append(line, ' ')
	line = c.appendTuple(line)
	if c.Interface != "" {
		line = append(line, ' ')
		line = append(line, clean(c.Interface)...)
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

func (c *Connection) appendTuple(line []byte) []byte {
	t := &c.Tuple
	line = c.appendEnd(line, t.Source, t.SourcePort)
	line = append(line, " → "...)
	line = c.appendEnd(line, t.Destination, t.DestinationPort)
	if t.IsICMP() && t.Destination.IsValid() {
		line = append(line, " type "...)
		line = strconv.AppendUint(line, uint64(t.ICMPType), 10)
		line = append(line, '/')
		line = strconv.AppendUint(line, uint64(t.ICMPCode), 10)
	}
	return line
}

// appendEnd writes an end; one that the connections of a record do not share is
// "any".
func (c *Connection) appendEnd(line []byte, address netip.Addr, port uint16) []byte {
	if !address.IsValid() {
		return append(line, "any"...)
	}
	if c.Tuple.HasPorts() && port == 0 && c.folded() {
		return append(address.AppendTo(line), ":any"...)
	}
	if c.Tuple.HasPorts() {
		return netip.AddrPortFrom(address, port).AppendTo(line)
	}
	return address.AppendTo(line)
}

// appendTo writes the judgement's part of a line about a record of that kind.
func (j *Judgement) appendTo(line []byte, kind Kind) []byte {
	if kind == ConnectionVerdict {
		line = append(line, " now "...)
		line = append(line, j.Verdict.String()...)
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
