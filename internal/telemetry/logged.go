package telemetry

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/weirnet/weir/internal/packet"
)

// Logged is what a log record of Weir tells of a connection, or of something said
// inside one.
type Logged struct {
	// Event is the name of the record: weir.connection.start, weir.tls.handshake, …
	Event string
	Time  time.Time
	// ID is 0 where it is missing.
	ID        uint64
	Direction packet.Direction
	// Tuple lacks what the connections of a fold do not share.
	Tuple           packet.Tuple
	Verdict, Reason string
	// EndReason and DestinationPackets are set at the end.
	EndReason          string
	DestinationPackets uint64
	// Count is the number of connections that it stands for.
	Count uint64
	// FirstSeen and LastSeen are set for folds.
	FirstSeen, LastSeen time.Time
	// Tunnel: a request after which something else is spoken (CONNECT, 101).
	Tunnel bool
	// Name is the server name of a handshake, or the host of a request.
	Name string
}

// Folded says that it stands for several connections.
func (l *Logged) Folded() bool { return l.Count > 1 }

// Refused says that it is the end of a TCP connection that never came about: nobody
// answered, or the answer was an RST.
func (l *Logged) Refused() bool {
	return l.Event == ConnectionEnd.EventName() && l.Tuple.Protocol == packet.TCP &&
		(l.DestinationPackets == 0 || l.DestinationPackets == 1 && l.EndReason == EndRST.String())
}

// ReadLog reads a log record back; false: it is not one about a connection, or its
// attributes are not those of Weir.
func ReadLog(record plog.LogRecord) (Logged, bool) {
	attributes := record.Attributes()
	l := Logged{Event: record.EventName(), Time: record.Timestamp().AsTime(), Count: 1}
	ok := strings.HasPrefix(l.Event, "weir.") && l.Event != PolicyChangeEvent
	for key, value := range attributes.All() {
		ok = ok && l.read(key, value)
	}
	if !ok || l.Direction == 0 || attributes.Len() == 0 {
		return Logged{}, false
	}
	if _, has := attributes.Get("network.transport"); !has {
		return Logged{}, false
	}
	return l, true
}

// read takes an attribute in; false: its value cannot be.
func (l *Logged) read(key string, value pcommon.Value) (ok bool) {
	switch key {
	case "source.address":
		l.Tuple.Source, ok = addressOf(value)
	case "destination.address":
		l.Tuple.Destination, ok = addressOf(value)
	case "source.port":
		l.Tuple.SourcePort, ok = intOf[uint16](value, 65535)
	case "destination.port":
		l.Tuple.DestinationPort, ok = intOf[uint16](value, 65535)
	case "weir.icmp.type":
		l.Tuple.ICMPType, ok = intOf[uint8](value, 255)
	case "weir.icmp.code":
		l.Tuple.ICMPCode, ok = intOf[uint8](value, 255)
	case "weir.connection.count":
		l.Count, ok = intOf[uint64](value, 1<<62)
	case "network.transport":
		l.Tuple.Protocol, ok = protocolOf(value.Str())
	case "weir.direction":
		l.Direction, ok = directionOf(value.Str())
	case "weir.connection.id":
		id, err := strconv.ParseUint(value.Str(), 16, 64)
		l.ID, ok = id, err == nil
	case "weir.first_seen":
		l.FirstSeen, ok = timeOf(value)
	case "weir.last_seen":
		l.LastSeen, ok = timeOf(value)
	case "weir.verdict":
		l.Verdict, ok = value.Str(), true
	case "weir.reason":
		l.Reason, ok = value.Str(), true
	case "weir.end_reason":
		l.EndReason, ok = value.Str(), true
	case "weir.destination.packets":
		l.DestinationPackets, ok = intOf[uint64](value, 1<<62)
	case "http.request.method":
		l.Tunnel, ok = l.Tunnel || value.Str() == "CONNECT", true
	case "http.response.status_code":
		l.Tunnel, ok = l.Tunnel || value.Int() == 101, true
	case "weir.tls.server_name":
		l.Name, ok = value.Str(), true
	case "server.address":
		// That of a request; a handshake has its server name.
		if l.Name == "" {
			l.Name = value.Str()
		}
		ok = true
	default:
		ok = true
	}
	return ok
}

func addressOf(v pcommon.Value) (netip.Addr, bool) {
	a, err := netip.ParseAddr(v.Str())
	return a.Unmap(), err == nil && a.Zone() == ""
}

func intOf[T uint8 | uint16 | uint64](v pcommon.Value, most int64) (T, bool) {
	n := v.Int()
	return T(n), v.Type() == pcommon.ValueTypeInt && n >= 0 && n <= most
}

func timeOf(v pcommon.Value) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, v.Str())
	return t, err == nil
}

func directionOf(name string) (packet.Direction, bool) {
	for _, d := range []packet.Direction{packet.Inbound, packet.Outbound, packet.Forwarded} {
		if d.String() == name {
			return d, true
		}
	}
	return 0, false
}

func protocolOf(name string) (uint8, bool) {
	for _, p := range []uint8{packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6} {
		if transportName(p) == name {
			return p, true
		}
	}
	n, err := strconv.ParseUint(name, 10, 8)
	return uint8(n), err == nil
}
