package engine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// answerOf is a DNS answer with an address that lives no time at all.
func answerOf(asked string, address netip.Addr) []byte {
	b := []byte(asked)
	b[2], b[3], b[7] = 0x81, 0x80, 1
	kind := uint16(1)
	if address.Is6() {
		kind = 28
	}
	b = append(b, 0xc0, 12)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = append(b, 0, 1, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(address.BitLen()/8))
	return append(b, address.AsSlice()...)
}

// speech is in a protocol that no rule knows.
const speech = "\x00\x01\x02 hello\n"

// TestResolveThenConnect: what DNS has answered is known when the connection that it
// leads to is judged, also where both follow each other at once.
func TestResolveThenConnect(t *testing.T) {
	resolver := netip.MustParseAddrPort(theServer[4].String() + ":53")
	for _, rule := range []string{"layer3: {destination_names: .good.example}", "layer7: {domains: .good.example}"} {
		t.Run(rule, func(t *testing.T) {
			r := newRoad(t, `
mode: prevent
rules:
  - {name: names, action: allow, layer3: {destination: `+resolver.Addr().String()+`}, layer4: {udp: 53}}
  - {name: known, action: allow, `+rule+`}
`, func(c *Config) { c.Inspect.Resolvers = []netip.AddrPort{resolver} })
			ask := r.tuple(4, packet.UDP, 53)
			var address netip.Addr
			r.server.listen(ask.Reversed(), func(_ *packet.Packet, asked []byte) {
				back := ask.Reversed()
				r.server.send(ipPacket(back, udpDatagram(back, answerOf(string(asked), address))))
			})
			// The client connects within the call that brings the answer.
			var client *peer
			var opened atomic.Bool
			r.client.listen(ask, func(*packet.Packet, []byte) {
				client.segment(packet.SYN, client.begin, nil)
				opened.Store(true)
			})
			for i := range 300 {
				address = netip.AddrFrom4([4]byte{10, 66, 2, byte(3 + i%200)})
				r.neighbor(t, address)
				tuple := r.tuple(4, packet.TCP, 4000)
				tuple.Destination = address
				var server *peer
				client, server = r.peers(tuple)
				opened.Store(false)
				name := fmt.Sprintf("n%d.good.example", i)
				r.client.send(ipPacket(ask, udpDatagram(ask, []byte(query(uint16(i), name, 1)))))
				within(t, "the answer", opened.Load)
				within(t, "the connection", func() bool { return client.acknowledged() == 0 && client.opened() })
				client.say(0, []byte(speech))
				within(t, "what it says", func() bool { said, _ := server.heard(); return said == speech })
			}
			// Nobody has answered this one.
			tuple := r.tuple(4, packet.TCP, 4000)
			tuple.Destination = netip.MustParseAddr("10.66.2.250")
			r.neighbor(t, tuple.Destination)
			stranger, server := r.peers(tuple)
			stranger.segment(packet.SYN, stranger.begin, nil)
			time.Sleep(pause)
			stranger.say(0, []byte(speech))
			time.Sleep(pause)
			if n := server.reached(stranger); n > 0 {
				t.Errorf("%d bytes came to an address without a name", n)
			}
			if seen := len(server.wire.sights(server.tuple)); seen > 0 && rule[:6] == "layer3" {
				t.Errorf("%d packets came to an address without a name", seen)
			}
		})
	}
}

// TestNamesAfterPolicyChange: a connection that is silent is judged by the names of its
// destination when the policy changes, which the kernel does not know.
func TestNamesAfterPolicyChange(t *testing.T) {
	resolver := netip.MustParseAddrPort(theServer[4].String() + ":53")
	const rest = "\nrules:\n  - {name: dns, action: allow, layer4: {udp: 53}}\n"
	r := newRoad(t, "mode: prevent"+rest+"  - {name: known, action: allow, layer3: {destination_names: .good.example}}\n",
		func(c *Config) { c.Inspect.Resolvers = []netip.AddrPort{resolver} })
	ask := r.tuple(4, packet.UDP, 53)
	r.server.listen(ask.Reversed(), func(_ *packet.Packet, asked []byte) {
		back := ask.Reversed()
		r.server.send(ipPacket(back, udpDatagram(back, answerOf(string(asked), theServer[4]))))
	})
	var answered atomic.Bool
	r.client.listen(ask, func(*packet.Packet, []byte) { answered.Store(true) })
	r.client.send(ipPacket(ask, udpDatagram(ask, []byte(query(1, "a.good.example", 1)))))
	within(t, "the answer", answered.Load)
	type ends struct{ client, server *peer }
	var all [2]ends
	for i := range all {
		all[i].client, all[i].server = r.connect(t, 4, 4000+uint16(i))
		all[i].client.say(0, []byte(speech))
		within(t, "what it says", func() bool { said, _ := all[i].server.heard(); return said == speech })
	}
	err := r.engine.Apply(2, load(t, "mode: prevent\ndefault_action: allow"+rest+
		"  - {name: no, action: block, layer3: {destination_names: a.good.example}, layer4: {tcp: 4000}}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		e.client.say(len(speech), []byte(speech))
	}
	within(t, "what is still allowed", func() bool { said, _ := all[1].server.heard(); return said == speech+speech })
	isReset(t, all[0].client, all[0].server)
	if n := all[0].server.reached(all[0].client); n > len(speech) {
		t.Errorf("%d bytes came of what is blocked now", n)
	}
}
