package flow

import "github.com/weirnet/weir/internal/packet"

// Seen is what the table knows of the connection of a packet, for whoever looks into
// it.
type Seen struct {
	ID        uint64
	Tuple     packet.Tuple // source is the initiator's end
	Direction packet.Direction
	First     int64
	// End sent the packet: 0 is the source.
	End int
	// Names are those of the destination when the first packet came.
	Names []string
	Own   bool // of Weir's own process
	// Loopback: seen on a loopback interface.
	Loopback bool
	// Midstream: of TCP, neither end's SYN was seen.
	Midstream bool
}

// Seen is the connection of the packet that Process has taken last, looked into or
// not; false where it has none, or one that was judged under other addresses or is
// told of by its end.
func (t *Tracker) Seen() (Seen, bool) {
	e := t.seen
	if e == nil || e.follower || e.endTold {
		return Seen{}, false
	}
	return Seen{
		ID: e.id, Tuple: e.tuple, Direction: e.direction, First: e.first, End: t.sender, Names: e.names,
		Own: e.own, Loopback: e.loopback,
		Midstream: e.tuple.Protocol == packet.TCP && !e.tcp.of(tcpSYN, source) && !e.tcp.of(tcpSYN, destination),
	}, true
}
