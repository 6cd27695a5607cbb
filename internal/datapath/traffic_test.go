package datapath

import (
	"math/rand/v2"
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
}

// traffic makes sequences of packets that are nearly right.
type traffic struct {
	*rand.Rand
	world *world
	talks []*talk
	steps []step
	names uint32 // identifications of datagrams
}

func (g *traffic) one(of ...int) int { return of[g.IntN(len(of))] }

// rarely is true once in n.
func (g *traffic) rarely(n int) bool { return g.IntN(n) == 0 }

func (g *traffic) pick(of []netip.Addr) netip.Addr { return of[g.IntN(len(of))] }

// sequence makes packets of a few conversations, in places and with fields near
// those expected, and now and then a change of policy, a sweep or a pause.
func (g *traffic) sequence(swaps bool) []step {
	g.talks, g.steps, g.names = nil, nil, uint32(1+g.IntN(1000))
	for range 1 + g.IntN(3) {
		g.talks = append(g.talks, g.talk())
	}
	if g.rarely(4) { // the same tuple elsewhere
		other := *g.talks[0]
		g.route(&other)
		g.talks = append(g.talks, &other)
	}
	sweeping := g.rarely(8)
	for range 3 + g.IntN(14) {
		switch {
		case swaps && g.rarely(8):
			g.steps = append(g.steps, step{kind: aSwap, policy: g.IntN(policiesAtOnce)})
		case sweeping && g.rarely(6):
			g.steps = append(g.steps, step{kind: aSweep, sweep: g.IntN(32)})
		case g.rarely(2000):
			g.steps = append(g.steps, step{kind: aPause})
		case g.rarely(9):
			g.failure(g.talks[g.IntN(len(g.talks))])
		default:
			g.packet(g.talks[g.IntN(len(g.talks))])
		}
	}
	return g.steps
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

// show lets frames be seen along the way of an end. build makes the frames of one
// sighting, as many at each.
func (g *traffic) show(k *talk, end int, gso uint32, build func(tp packet.Tuple, h *headers) [][]byte) {
	way := k.ways[end]
	options, hopLimit := g.rarely(15), uint8(g.one(64, 64, 255))
	tags := k.tags
	if g.rarely(60) {
		tags = nil
	}
	var sightings [][]step // by frame
	for _, v := range way {
		tp := k.tuple
		if v.translated {
			tp = k.beyond
		}
		if end == 1 {
			tp = tp.Reversed()
		}
		to := g.world.mac[v.at]
		switch {
		case v.foreign:
			to = [6]byte{2, 9, 9, 9, 9, 9}
		case v.group:
			to = [6]byte{255, 255, 255, 255, 255, 255}
		}
		at := v.place
		if g.rarely(60) {
			at = []place{in(outside), sent(outside), passed(inside, outside), passed(vlan, unwatched), in(bridge)}[g.IntN(5)]
		}
		for i, frame := range build(tp, &headers{to: to, tags: tags, hopLimit: hopLimit, options: options}) {
			if len(sightings) <= i {
				sightings = append(sightings, nil)
			}
			sightings[i] = append(sightings[i], step{kind: aPacket, at: at, frame: frame, gso: gso})
		}
	}
	if g.rarely(4) {
		g.Shuffle(len(sightings), func(i, j int) { sightings[i], sightings[j] = sightings[j], sightings[i] })
	}
	for _, list := range sightings {
		if g.rarely(20) && len(list) > 0 {
			list = list[:len(list)-1] // lost on the way
		}
		g.steps = append(g.steps, list...)
	}
}

// packet is one of the conversation, perhaps in fragments.
func (g *traffic) packet(k *talk) {
	end := g.IntN(2)
	var flags byte
	var seq, ack uint32
	payload := g.one(0, 0, 0, 1, 3, 8, 40, 200)
	gso := uint32(0)
	if g.rarely(8) {
		gso, payload = uint32(g.one(16, 100)), g.one(16, 100, 101, 300)
	}
	if k.tuple.Protocol == packet.TCP {
		end, flags, payload = g.segment(k, end, payload)
		near := func(n uint32) uint32 { return n + uint32(g.one(0, 0, 0, 0, g.IntN(7)-3)) }
		seq, ack = near(k.next[end]), near(k.next[1-end])
		if !g.rarely(4) || k.stage > 0 {
			k.next[end] = seq + uint32(payload) + uint32(flags&1) + uint32(flags>>1&1)
		}
	}
	kind, code := byte(8), byte(0)
	if g.rarely(8) {
		kind, code = byte(g.one(13, 15, 42, 9, 5, 4)), byte(g.IntN(2))
	}
	if k.tuple.Source.Is6() {
		kind = byte(g.one(128, 128, 160, 133, 135, 136, 143, 137))
	}
	if end == 1 {
		switch kind {
		case 8:
			kind = 0
		case 13, 15, 42, 128, 160:
			kind++
		}
	}
	carry := func(tp packet.Tuple) []byte {
		switch tp.Protocol {
		case packet.TCP:
			return segment(tp, flags, seq, ack, payload)
		case packet.UDP:
			return udpDatagram(tp, payload)
		case packet.ICMP, packet.ICMPv6:
			return icmpMessage(kind, code, k.id, make([]byte, payload))
		}
		return make([]byte, 8+payload)
	}
	g.datagram(k, end, gso, carry)
}

// datagram shows a packet whole, or cut into fragments, which may overlap.
func (g *traffic) datagram(k *talk, end int, gso uint32, carry func(packet.Tuple) []byte) {
	if !g.rarely(10) {
		g.show(k, end, gso, func(tp packet.Tuple, h *headers) [][]byte { return [][]byte{h.build(tp, carry(tp))} })
		return
	}
	g.names++
	if g.rarely(4) {
		g.names-- // that of the one before
	}
	id, cuts, twice := g.names, []int{g.one(3, 4, 6), g.one(0, 7, 8)}, g.rarely(6)
	if cuts[1] == 0 {
		cuts = cuts[:1]
	}
	g.show(k, end, 0, func(tp packet.Tuple, h *headers) [][]byte {
		frames := h.fragments(tp, carry(tp), id, cuts...)
		if twice && len(frames) > 1 {
			frames = append(frames, frames[len(frames)-1])
		}
		return frames
	})
}

// segment says what a TCP segment is like: often the next of a connection as it
// should be, else any.
func (g *traffic) segment(k *talk, end, payload int) (int, byte, int) {
	const fin, syn, rst, ack = packet.FIN, packet.SYN, packet.RST, packet.ACK
	script := []struct {
		end   int
		flags byte
		data  bool
	}{
		{0, syn, false}, {1, syn | ack, false}, {0, ack, false}, {0, ack, true}, {1, ack, true},
		{0, fin | ack, false}, {1, fin | ack, false}, {0, ack, false},
	}
	if k.stage < len(script) && !g.rarely(4) {
		s := script[k.stage]
		k.stage++
		if !s.data {
			payload = 0
		}
		return s.end, s.flags, payload
	}
	if g.rarely(3) {
		k.stage = 0
	}
	flags := byte(g.one(int(syn), int(syn|ack), int(ack), int(ack), int(ack), int(fin|ack), int(rst), int(rst|ack), int(fin), int(syn|rst), 0))
	return end, flags, payload
}

// failure is an ICMP error about a packet of the conversation, which comes the way
// of the other end's packets.
func (g *traffic) failure(k *talk) {
	end := g.IntN(2) // of which the packet is
	kind := byte(g.one(3, 3, 3, 11, 12, 4, 5))
	if k.tuple.Source.Is6() {
		kind = byte(g.one(1, 1, 2, 3, 4, 100))
	}
	code, astray, fromRouter, length := byte(g.IntN(2)), g.rarely(8), g.rarely(2), g.one(0, 8, 8, 64)
	quotedError, quotedFragment := g.rarely(20), g.rarely(20)
	carry := func(tp packet.Tuple) []byte { // tp: from the end that reports
		quoted := tp.Reversed()
		var l4 []byte
		switch {
		case quotedError:
			quoted.Protocol, l4 = errorProtocol(tp), icmpMessage(kind, 0, 0, nil)
		case quoted.Protocol == packet.ICMP:
			l4 = icmpMessage(map[int]byte{0: 8, 1: 0}[end], 0, k.id, nil)
		case quoted.Protocol == packet.ICMPv6:
			l4 = icmpMessage(map[int]byte{0: 128, 1: 129}[end], 0, k.id, nil)
		case quoted.Protocol == packet.TCP:
			l4 = segment(quoted, packet.ACK, k.next[end], k.next[1-end], length)
		default:
			l4 = udpDatagram(quoted, length)
		}
		h := headers{hopLimit: 1}
		if quotedFragment {
			h.id, h.offset = 7, 4
		}
		return icmpMessage(kind, code, 0, h.build(quoted, l4)[14:])
	}
	id := uint32(0)
	if g.names++; g.rarely(2) {
		id, length = g.names, 64
	}
	g.show(k, 1-end, 0, func(tp packet.Tuple, h *headers) [][]byte {
		message := carry(tp)
		outer := tp
		outer.Protocol = errorProtocol(tp)
		if fromRouter {
			outer.Source = map[bool]netip.Addr{false: address("10.0.9.9"), true: address("fd00:9::9")}[tp.Source.Is6()]
		}
		if astray && !tp.Source.IsLoopback() {
			outer.Destination = map[bool]netip.Addr{false: peers4[1], true: peers6[1]}[tp.Source.Is6()]
		}
		if id == 0 {
			return [][]byte{h.build(outer, message)}
		}
		return h.fragments(outer, message, id, 7)
	})
}

func errorProtocol(tp packet.Tuple) uint8 {
	if tp.Source.Is6() {
		return packet.ICMPv6
	}
	return packet.ICMP
}
