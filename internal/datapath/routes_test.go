package datapath

import (
	"net/netip"

	"github.com/weirnet/weir/internal/packet"
)

// view is one sighting of a conversation's packets.
type view struct {
	place
	translated bool // they bear the other tuple
	foreign    bool // to another host's MAC address
	group      bool // to a broadcast address
}

// talk is a conversation that passes the devices of the world.
type talk struct {
	tuple  packet.Tuple // as its initiator writes it
	beyond packet.Tuple // after translation
	ways   [2][]view    // of the packets of each end
	tags   []uint16
	id     uint16
	next   [2]uint32 // sequence numbers
	stage  int       // of a connection as it should be
	coming []coming  // what comes next of it, whatever the stage
}

// coming is a TCP segment that is to come.
type coming struct {
	end     int
	flags   byte
	payload int
}

var ports = []int{1, 2, 22, 53, 67, 68, 80, 443, 546, 547, 8080, 65535}

func (g *traffic) talk() *talk {
	k := &talk{id: uint16(g.IntN(2))}
	k.tuple.Protocol = uint8(g.one(6, 6, 6, 6, 17, 17, 1, 47, 132, 255))
	k.tuple.SourcePort, k.tuple.DestinationPort = uint16(40000+g.IntN(2)), uint16(ports[g.IntN(3)])
	if g.rarely(3) {
		k.tuple.SourcePort, k.tuple.DestinationPort = uint16(ports[g.IntN(len(ports))]), uint16(ports[g.IntN(len(ports))])
	}
	switch g.IntN(8) {
	case 0:
		k.tags = []uint16{vlanZone}
	case 1:
		k.tags = [][]uint16{{7, 9}, {0}, {0, 7}, {7}, {1, 2, 3}}[g.IntN(5)]
	}
	for i := range k.next {
		k.next[i] = uint32(g.IntN(3)) * 100
		if g.rarely(4) {
			k.next[i] = ^uint32(0) - uint32(g.IntN(20)) // it wraps
		}
	}
	k.ends(g, g.rarely(2))
	g.route(k)
	return k
}

// ends draws the addresses: those of this host are among them, or those of others.
func (k *talk) ends(g *traffic, v6 bool) {
	here, peers := local4, peers4
	if v6 {
		here, peers = local6, peers6
		if k.tuple.Protocol == packet.ICMP {
			k.tuple.Protocol = packet.ICMPv6
		}
	}
	k.tuple.Source, k.tuple.Destination = g.pick(peers), here
	if g.rarely(2) {
		k.tuple = k.tuple.Reversed()
		k.tuple.SourcePort, k.tuple.DestinationPort = k.tuple.DestinationPort, k.tuple.SourcePort
	}
	if g.rarely(20) {
		k.tuple.Destination = k.tuple.Source
	}
}

// route draws the way that the packets take.
func (g *traffic) route(k *talk) {
	near := outside
	if g.rarely(5) {
		near = vlan
	}
	v6 := k.tuple.Source.Is6()
	behind, gateway := behind4, inside4
	if v6 {
		behind, gateway = behind6, inside6
	}
	k.beyond = k.tuple
	through := func(translated bool) {
		k.ways = [2][]view{
			{{place: in(near)}, {place: passed(inside, near), translated: translated}},
			{{place: in(inside), translated: translated}, {place: passed(near, inside)}},
		}
	}
	if kind := g.IntN(12); kind >= 4 && kind <= 8 {
		k.tuple.Destination = g.pick(behind)
		if isForHost(k.tuple.Source) {
			k.tuple.Source = g.pick(map[bool][]netip.Addr{false: peers4, true: peers6}[v6])
		}
		k.beyond = k.tuple
		switch kind {
		case 4, 5:
			through(false)
		case 6: // source NAT
			k.beyond.Source, k.beyond.SourcePort = gateway, uint16(50000+g.IntN(2))
			through(true)
		case 7: // destination NAT
			k.tuple.Destination, k.tuple.DestinationPort = map[bool]netip.Addr{false: local4, true: local6}[v6], 8080
			through(true)
		case 8: // past a bridge, both of whose ports are watched
			through(false)
			for _, way := range k.ways {
				way[0].foreign = true
			}
		}
		return
	} else if kind == 9 { // came in by a device that is not watched
		k.ways = [2][]view{{{place: passed(near, unwatched)}}, {{place: in(near)}}}
		return
	} else if kind == 10 { // loopback
		both := []view{{place: sent(loopback)}, {place: in(loopback)}}
		k.ways = [2][]view{both, both}
		if g.rarely(2) {
			one := map[bool]netip.Addr{false: address("127.0.0.1"), true: address("::1")}[v6]
			k.tuple.Source, k.tuple.Destination = one, one
			k.beyond = k.tuple
		}
		return
	} else if kind == 11 {
		k.ways = g.odd(near)
		return
	}
	here := []view{{place: in(near)}}
	away := []view{{place: sent(near)}}
	if g.rarely(5) { // over a bridge and its port
		here = append(here, view{place: in(bridge)})
		away = append([]view{{place: sent(bridge)}}, away...)
	}
	k.ways = [2][]view{here, away}
	if k.tuple.Source == local4 || k.tuple.Source == local6 {
		k.ways = [2][]view{away, here}
	}
}

// odd ways: flooded by a bridge, to all hosts, seen on one way only.
func (g *traffic) odd(near device) [2][]view {
	switch g.IntN(3) {
	case 0:
		return [2][]view{{{place: in(bridge), foreign: true}}, {{place: in(near), foreign: true}}}
	case 1:
		return [2][]view{{{place: in(near), group: true}}, {{place: sent(near)}}}
	}
	return [2][]view{{{place: in(near)}}, {}}
}
