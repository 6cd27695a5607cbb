package flow_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

var (
	inside       = flow.Hook{Interface: 3}                             // from the inner network
	leavesUplink = flow.Hook{Interface: 4, Egress: true, Judged: true} // having come in inside
	leavesInside = flow.Hook{Interface: 3, Egress: true, Judged: true}
)

// Masquerade: what leaves by the uplink bears another source.
func translated(p *packet.Packet) *packet.Packet {
	n := *p
	outer := netip.MustParseAddr("203.0.113.1")
	if n.Source == here {
		n.Source = outer
	} else {
		n.Destination = outer
	}
	return &n
}

// forward shows a segment where a router that masquerades sees it.
func (w *world) forward(g segment) (results [2]flow.Result) {
	p := g.packet()
	if g.fromServer {
		// The reply is let go at the uplink, and counted where it bears the inner
		// addresses again.
		results[0] = w.see(translated(p), flow.Hook{Interface: 4, ForHost: true})
		results[1] = w.see(p, leavesInside)
		return results
	}
	results[0] = w.see(p, inside)
	results[1] = w.see(translated(p), leavesUplink)
	return results
}

func TestMasquerade(t *testing.T) {
	w := newWorld(t, prevent+"rules: [{name: a, action: allow, direction: forwarded}]")
	for _, g := range after(open(), c(fin|ack, clientNext, serverNext, 0), s(fin|ack, serverNext, clientNext+1, 0), c(ack, clientNext+1, serverNext+1, 0)) {
		for i, r := range w.forward(g) {
			if r.Drop {
				t.Errorf("%+v dropped, sighting %d", g, i)
			}
		}
	}
	w.ends(1, flow.EndFIN)
	if e := w.of(flow.EventEnd)[0]; e.Sent[0].Packets != 6 || e.Sent[1].Packets != 3 || e.Tuple.Source != here || e.Direction != packet.Forwarded {
		t.Errorf("%+v", e)
	}
	if w.Entries() != 2 || w.Active() != 0 {
		t.Errorf("%d entries, %d active", w.Entries(), w.Active())
	}
	w.wait(limits.TCPClosing + time.Second)
	w.sweep()
	if w.Entries() != 0 {
		t.Error("the follower outlives what it follows")
	}
}

// A spoofed SYN for the tuple of a follower is judged, and cuts nothing.
func TestSYNOnFollower(t *testing.T) {
	w := newWorld(t, prevent+"rules: [{name: a, action: allow, direction: forwarded}]")
	for _, g := range open() {
		w.forward(g)
	}
	spoofed := translated(s(syn, 99, 0, 0).packet())
	if r := w.see(spoofed, flow.Hook{Interface: 4, ForHost: true}); !r.Drop {
		t.Error("the SYN passed")
	}
	w.ends(2, flow.EndBlocked)
	if r := w.forward(s(ack, serverNext, clientNext, 10)); r[0].Drop || r[1].Drop {
		t.Error("the connection is cut")
	}
	w.consistent()
	w.swap("rules: [{name: a, action: allow}]")
	if r := w.see(spoofed, flow.Hook{Interface: 4, ForHost: true}); r.Drop {
		t.Error("dropped in detect mode")
	}
}

// A port that is used again makes the follower young again: else it would go long
// before the connection.
func TestFollowerUsedAgain(t *testing.T) {
	w := newWorld(t, prevent+"rules: [{name: a, action: allow, direction: forwarded}]")
	for _, g := range after(open(), c(rst, clientNext, 0, 0)) {
		w.forward(g)
	}
	for _, g := range []segment{c(syn, 70000, 0, 0), s(syn|ack, 80000, 70001, 0), c(ack, 70001, 80001, 10), s(ack, 80001, 70011, 10)} {
		w.forward(g)
	}
	w.wait(limits.TCPClosing * 2)
	w.sweep()
	if r := w.forward(s(ack, 80011, 70011, 10)); r[0].Drop || r[1].Drop {
		t.Error("a reply after two idle minutes is dropped")
	}
	w.ends(2, flow.EndRST)
}

// Two sightings of one packet are counted once; a new route is counted anew.
func TestHooks(t *testing.T) {
	port, bridge := flow.Hook{Interface: 5}, flow.Hook{Interface: 6, ForHost: true}
	w := newWorld(t, "")
	for range 3 {
		p := datagram(60)
		w.see(p, port)
		w.see(p, bridge)
	}
	w.wait(100 * time.Millisecond)
	w.see(datagram(60), bridge) // the port is not watched any more
	w.wait(2 * time.Second)
	w.see(datagram(60), flow.Hook{Interface: 7, Egress: true, Judged: true})
	w.events = w.Flush(w.events)
	if e := w.of(flow.EventEnd)[0]; e.Sent[0].Packets != 4 {
		t.Errorf("%d packets", e.Sent[0].Packets)
	}

	// What the host sends by a bridge leaves by two interfaces.
	w = newWorld(t, "")
	for range 3 {
		w.see(datagram(60), flow.Hook{Interface: 6, Egress: true, SentByHost: true})
		w.see(datagram(60), flow.Hook{Interface: 5, Egress: true, SentByHost: true})
	}
	w.see(datagram(60), flow.Hook{Interface: 6, Flooded: true})
	w.events = w.Flush(w.events)
	if e := w.of(flow.EventEnd)[0]; e.Sent[0].Packets != 3 || w.counter(flow.OtherHost) != 1 {
		t.Errorf("%d packets", e.Sent[0].Packets)
	}
}

func TestRelated(t *testing.T) {
	quoting := func(quoted *packet.Packet, kind uint8, to netip.Addr) *packet.Packet {
		p := between(packet.ICMP, 28)
		p.Source, p.Destination = netip.MustParseAddr("192.0.2.254"), to
		p.ICMPType, p.IsError = kind, true
		if quoted != nil {
			p.HasQuote, p.Quoted = true, quoted.Tuple
		}
		return p
	}
	stranger := datagram(1)
	stranger.SourcePort = 1
	tagged := datagram(1)
	tagged.Zone.Outer = 5
	taggedError := quoting(tagged, 3, here)
	taggedError.Zone.Outer = 5
	for _, test := range []struct {
		name string
		p    *packet.Packet
		want bool
	}{
		{"unreachable", quoting(datagram(1), 3, here), true},
		{"time exceeded", quoting(datagram(1), 11, here), true},
		{"in a VLAN", taggedError, true},
		{"redirect", quoting(datagram(1), 5, here), false},
		{"of another connection", quoting(stranger, 3, here), false},
		{"to another address", quoting(datagram(1), 3, there), false},
		{"of another zone", quoting(tagged, 3, here), false},
		{"without a quote", quoting(nil, 3, here), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, prevent+"rules: [{name: a, action: allow, layer4: udp}]")
			w.see(datagram(1), out)
			if test.name == "in a VLAN" {
				w.see(tagged, out)
			}
			// One that belongs to nothing came before, from the same router.
			w.see(quoting(stranger, 3, here), in)
			told := len(w.events)
			drop := w.see(test.p, in).Drop
			if drop == test.want || (w.counter(flow.RelatedICMP) == 1) != test.want {
				t.Errorf("dropped %v, %d counted", drop, w.counter(flow.RelatedICMP))
			}
			if test.want && len(w.events) != told {
				t.Error("it was told of")
			}
		})
	}
	w := newWorld(t, prevent+"safeguards: {icmp-errors: false}\nrules: [{name: a, action: allow, layer4: udp}]")
	w.see(datagram(1), out)
	if !w.see(quoting(datagram(1), 3, here), in).Drop {
		t.Error("passed without the safeguard")
	}
}
