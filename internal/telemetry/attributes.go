package telemetry

import (
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/weirnet/weir/internal/packet"
)

// Room for the attributes of a record, so that they are allocated at once: a
// start has up to 17, any other kind 7 more, a fold 3.
const (
	startAttributes = 17
	laterAttributes = startAttributes + 7
	foldAttributes  = 3
)

// putConnection puts the attributes of DESIGN section 5 that a log record and a
// span have in common. An attribute is present only where it means something:
// ports for TCP and UDP, ICMP fields for ICMP, counts once there are any.
func putConnection(attributes pcommon.Map, c *Connection) {
	room := startAttributes
	if c.counted() {
		room = laterAttributes
	}
	if c.folded() {
		room += foldAttributes
	}
	attributes.EnsureCapacity(room)
	putTuple(attributes, &c.Tuple, c.folded())
	putPath(attributes, c.Interface, c.isIPv6())
	attributes.PutStr("weir.connection.id", formatID(c.ID))
	attributes.PutStr("weir.direction", c.Direction.String())
	if c.Protocol != "" {
		attributes.PutStr("network.protocol.name", c.Protocol)
	}

	putJudgement(attributes, &c.Judgement)

	if c.counted() {
		attributes.PutInt("weir.source.bytes", int64(c.Source.Bytes))
		attributes.PutInt("weir.source.packets", int64(c.Source.Packets))
		attributes.PutInt("weir.destination.bytes", int64(c.Destination.Bytes))
		attributes.PutInt("weir.destination.packets", int64(c.Destination.Packets))
	}
	if c.Kind == ConnectionEnd {
		attributes.PutStr("weir.end_reason", c.End.String())
		attributes.PutDouble("weir.duration", c.Duration().Seconds())
	}
	if c.folded() {
		attributes.PutInt("weir.connection.count", int64(c.Count))
		attributes.PutStr("weir.first_seen", c.FirstSeen.UTC().Format(timeLayout))
		attributes.PutStr("weir.last_seen", c.LastSeen.UTC().Format(timeLayout))
	}
}

// putTuple puts the ends of a connection and what they talk by. The connections of
// a fold share what they were folded by; a port of 0 says that it was not part of
// that.
func putTuple(attributes pcommon.Map, t *packet.Tuple, folded bool) {
	if t.Source.IsValid() {
		attributes.PutStr("source.address", t.Source.String())
	}
	if t.Destination.IsValid() {
		attributes.PutStr("destination.address", t.Destination.String())
	}
	if t.HasPorts() && t.Destination.IsValid() {
		if t.SourcePort != 0 || !folded {
			attributes.PutInt("source.port", int64(t.SourcePort))
		}
		if t.DestinationPort != 0 || !folded {
			attributes.PutInt("destination.port", int64(t.DestinationPort))
		}
	}
	if t.IsICMP() && t.Destination.IsValid() {
		attributes.PutInt("weir.icmp.type", int64(t.ICMPType))
		attributes.PutInt("weir.icmp.code", int64(t.ICMPCode))
	}
	attributes.PutStr("network.transport", transportName(t.Protocol))
}

// putPath puts the version of IP, and the interface.
func putPath(attributes pcommon.Map, name string, ipv6 bool) {
	if ipv6 {
		attributes.PutStr("network.type", "ipv6")
	} else {
		attributes.PutStr("network.type", "ipv4")
	}
	if name != "" {
		attributes.PutStr("network.interface.name", clean(name))
	}
}

// timeLayout is RFC 3339 with a fixed number of digits, which sorts as text.
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

// putJudgement puts what the policy said. Where no rules are in force nothing
// is claimed: there is no action and no reason then.
func putJudgement(attributes pcommon.Map, j *Judgement) {
	attributes.PutStr("weir.verdict", j.Verdict.String())
	attributes.PutStr("weir.mode", modeName(j.Prevent))
	if j.Action != NoAction {
		attributes.PutStr("weir.action", j.Action.String())
	}
	if j.Reason != ReasonNone {
		attributes.PutStr("weir.reason", j.Reason.String())
	}
	if j.Rule != "" {
		attributes.PutStr("security_rule.name", clean(j.Rule))
	}
	if j.Generation != 0 {
		attributes.PutStr("security_rule.version", strconv.FormatUint(j.Generation, 10))
	}
	if j.ShadowRule != "" {
		attributes.PutStr("weir.shadow.rule", clean(j.ShadowRule))
	}
	if j.ShadowAction != NoAction {
		attributes.PutStr("weir.shadow.action", j.ShadowAction.String())
	}
}

// formatID is an id as 16 hexadecimal digits: unlike a number it survives
// every store, of which some know only floating point or signed numbers.
func formatID(id uint64) string {
	const digits = "0123456789abcdef"
	var text [16]byte
	for i := range text {
		text[i] = digits[id>>(60-4*i)&15]
	}
	return string(text[:])
}
