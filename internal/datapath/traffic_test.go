package datapath

import (
	"math/rand/v2"
	"net/netip"

	"github.com/weirnet/weir/internal/packet"
)

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
// those expected, and now and then a change of policy, a sweep or a paused.
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
		case g.rarely(10):
			g.settlement(g.talks[g.IntN(len(g.talks))])
		case g.rarely(9):
			g.failure(g.talks[g.IntN(len(g.talks))])
		default:
			g.packet(g.talks[g.IntN(len(g.talks))])
		}
	}
	return g.steps
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
		{0, syn, false},
		{1, syn | ack, false},
		{0, ack, false},
		{0, ack, true},
		{1, ack, true},
		{0, fin | ack, false},
		{1, fin | ack, false},
		{0, ack, false},
	}
	if k.stage > 3 && len(k.coming) == 0 && g.rarely(8) {
		k.coming = [][]coming{
			{{end, rst, 0}, {end, ack, 8}},                    // nobody has taken it
			{{end, rst, 0}, {1 - end, ack, 8}, {end, ack, 0}}, //
			{{end, rst, 0}, {1, syn, 0}, {0, syn | ack, 0}},   // the other way round
			{{1, syn, 0}, {0, syn | ack, 0}, {1, ack, 8}},     //
			{{0, syn, 0}, {0, syn, 3}, {1, syn | ack, 0}},     // which of them is answered?
			{{0, syn, 3}, {0, ack, 40}, {1, syn | ack, 0}},    //
		}[g.IntN(6)]
	}
	if len(k.coming) > 0 {
		c := k.coming[0]
		k.coming = k.coming[1:]
		return c.end, c.flags, c.payload
	}
	if k.stage == 2 && g.rarely(8) { // another server answers, too
		k.stage, k.next[1] = 1, k.next[1]+3_000_000_000
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
