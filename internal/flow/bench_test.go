package flow_test

import (
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

// BenchmarkEstablished is a packet of one of 1,000 connections.
func BenchmarkEstablished(b *testing.B) {
	w := newWorld(b, "")
	const flows = 1000
	packets := make([]*packet.Packet, 0, flows)
	for i := range flows {
		for _, g := range open() {
			p := g.packet()
			if g.fromServer {
				p.DestinationPort += uint16(i)
				w.see(p, in)
				continue
			}
			p.SourcePort += uint16(i)
			w.see(p, out)
			if g.payload == 0 && len(packets) == i && g.flags == ack && g.seq == client+101 {
				packets = append(packets, p)
			}
		}
	}
	events := w.events[:0]
	b.ReportAllocs()
	for i := range b.N {
		_, events = w.Process(packets[i%flows], packet.Decoded, &out, w.now+int64(i), events)
	}
	if len(events) > 0 || len(packets) != flows {
		b.Fatal("the packets were not those of open connections")
	}
}

// BenchmarkNew is a connection that begins, is judged, and ends.
func BenchmarkNew(b *testing.B) {
	w := newWorld(b, "rules: [{name: a, action: allow, layer4: {tcp: 443}}]")
	first, last := c(syn, client, 0, 0).packet(), s(rst|ack, 0, client+1, 0).packet()
	events := w.events[:0]
	b.ReportAllocs()
	for i := range b.N {
		first.Seq, last.Ack = uint32(i), uint32(i)+1
		_, events = w.Process(first, packet.Decoded, &out, w.now, events[:0])
		_, events = w.Process(last, packet.Decoded, &in, w.now, events)
		if len(events) != 2 {
			b.Fatal(events)
		}
	}
}
