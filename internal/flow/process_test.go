package flow_test

import (
	"testing"
	"time"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

func TestDirections(t *testing.T) {
	through := flow.Hook{Interface: 3}
	for _, test := range []struct {
		name string
		p    *packet.Packet
		hook flow.Hook
		want packet.Direction
	}{
		{"sent", datagram(1), out, packet.Outbound},
		{"received", datagram(1), in, packet.Inbound},
		{"passing", datagram(1), through, packet.Forwarded},
		{"answer sent", s(syn|ack, 1, 1, 0).packet(), out, packet.Inbound},
		{"answer received", s(syn|ack, 1, 1, 0).packet(), in, packet.Outbound},
		{"reply received", icmp(8, 1, true), in, packet.Outbound},
	} {
		w := newWorld(t, "")
		w.see(test.p, test.hook)
		if got := w.events[0].Direction; got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestPairs(t *testing.T) {
	answered := func(p *packet.Packet) *packet.Packet { r := reply(p); r.Bytes = 99; return r }
	other := between(packet.ICMP, 20)
	other.ICMPType = 9
	gre := between(47, 30)
	self := icmp(8, 5, false)
	self.Destination = self.Source
	selfReply := *self
	selfReply.IsReply, selfReply.Bytes = true, 99
	for _, test := range []struct {
		name  string
		query *packet.Packet
		back  *packet.Packet
	}{
		{"udp", datagram(10), answered(datagram(10))},
		{"echo", icmp(8, 7, false), func() *packet.Packet { p := icmp(8, 7, true); p.Bytes = 99; return p }()},
		{"other ICMP", other, answered(other)},
		{"other protocol", gre, answered(gre)},
		{"echo to oneself", self, &selfReply},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, "")
			w.see(test.query, out)
			w.see(test.back, in)
			w.wait(2 * time.Minute)
			if found := w.sweep(); found.Ended != 1 || found.Active != 0 {
				t.Fatalf("swept %+v", found)
			}
			w.ends(1, flow.EndTimeout)
			if e := w.of(flow.EventEnd)[0]; e.Sent[0].Packets != 1 || e.Sent[1].Bytes != 99 || e.Tuple != test.query.Tuple {
				t.Errorf("%+v", e)
			}
		})
	}
	w := newWorld(t, "")
	w.see(icmp(8, 7, false), out)
	w.see(icmp(8, 8, false), out)
	w.see(icmp(13, 8, true), in)
	w.ends(3)
}

func TestZones(t *testing.T) {
	w := newWorld(t, "")
	tagged, inner := datagram(1), datagram(1)
	tagged.Zone = packet.Zone{Outer: 7}
	inner.Zone = packet.Zone{Outer: 7, Inner: 8}
	w.see(datagram(1), out)
	w.see(tagged, out)
	w.see(inner, out)
	w.ends(3)
}

func TestFragments(t *testing.T) {
	w := newWorld(t, "")
	fragments := packet.NewFragments(10)
	first := s(ack, 1, 1, 1000).packet()
	first.IsFragment, first.FragmentID, first.FragmentLength = true, 9, 1000
	later := between(packet.TCP, 500)
	later.Tuple = later.Tuple.Reversed()
	later.IsFragment, later.FragmentID, later.FragmentOffset, later.FragmentLength = true, 9, 1000, 500
	for _, p := range []*packet.Packet{first, later} {
		outcome := packet.Decoded
		if p == later {
			outcome = packet.LaterFragment
		}
		now := time.Unix(0, w.now)
		_, w.events = w.Process(p, fragments.Follow(p, outcome, in.Number(), now), &in, w.now, w.events)
	}
	w.events = w.Flush(w.events)
	w.ends(1, flow.EndTimeout)
	if e := w.events[1]; e.Sent[1].Packets != 2 {
		t.Errorf("%+v", e)
	}
}

func TestUndecodable(t *testing.T) {
	arp := &packet.Packet{EtherType: packet.EtherTypeARP}
	other := &packet.Packet{EtherType: 0x88cc}
	judged := flow.Hook{Interface: 3, Egress: true, Judged: true}
	const strict = prevent + "non_ip: block\nrules: [{name: a, action: allow}]"
	for _, test := range []struct {
		text    string
		p       *packet.Packet
		outcome packet.Outcome
		hook    flow.Hook
		drop    bool
		counter flow.Counter
		count   uint64
	}{
		{strict, arp, packet.NotIP, in, false, flow.NonIPDropped, 0},
		{strict, other, packet.NotIP, in, true, flow.NonIPDropped, 1},
		{strict, other, packet.NotIP, judged, false, flow.NonIPDropped, 0},
		{"non_ip: block\nrules: [{name: a, action: allow}]", other, packet.NotIP, in, false, flow.NonIPPassed, 1},
		{strict, other, packet.Malformed, in, true, flow.MalformedDropped, 1},
		{strict + "\non_error: allow", other, packet.Malformed, in, false, flow.MalformedPassed, 1},
		{strict, other, packet.LaterFragment, in, true, flow.FragmentDropped, 1},
		{"", other, packet.LaterFragment, in, false, flow.FragmentPassed, 1},
		{strict, other, packet.UnknownLink, in, false, flow.UnknownLinkPassed, 1},
	} {
		w := newWorld(t, test.text)
		r, events := w.Process(test.p, test.outcome, &test.hook, w.now, nil)
		if r.Drop != test.drop || len(events) != 0 || w.counter(test.counter) != test.count {
			t.Errorf("%v of %q: %+v, %v counted %d", test.outcome, test.text, r, test.counter, w.counter(test.counter))
		}
	}
}

func TestTimeouts(t *testing.T) {
	for _, test := range []struct {
		name string
		see  func(*world)
		want time.Duration
	}{
		{"open", func(w *world) { w.send(open()...) }, limits.TCP},
		{"not answered", func(w *world) { w.send(c(syn, client, 0, 0)) }, limits.TCPClosing},
		{"half closed", func(w *world) { w.send(after(open(), c(fin|ack, clientNext, serverNext, 0))...) }, limits.TCPClosing},
		{"one way only", func(w *world) { w.send(c(ack, 1, 1, 10), c(ack, 11, 1, 10)) }, limits.TCPClosing},
		{"udp", func(w *world) { w.see(datagram(1), out) }, limits.UDP},
		{"icmp", func(w *world) { w.see(icmp(8, 1, false), out) }, limits.ICMP},
		{"other", func(w *world) { w.see(between(132, 10), out) }, limits.ICMP},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, "")
			test.see(w)
			last := w.now - int64(time.Millisecond)
			w.now = last + int64(test.want)
			w.sweep()
			w.ends(1)
			w.now++
			w.sweep()
			w.ends(1, flow.EndTimeout)
			if e := w.of(flow.EventEnd)[0]; e.Time != last {
				t.Errorf("ended at %d, last packet at %d", e.Time, last)
			}
		})
	}
}

func TestUpdates(t *testing.T) {
	w := newWorld(t, "")
	w.send(open()...)
	for range 5 {
		w.wait(time.Second)
		_, w.events = w.Sweep(w.now, &limits, 2*time.Second, w.events)
	}
	if got := w.of(flow.EventUpdate); len(got) != 2 || got[0].Sent[0].Packets != 4 {
		t.Errorf("updates %+v", got)
	}
}

func TestFullTable(t *testing.T) {
	w := newWorld(t, prevent+"rules: [{name: a, action: allow, layer4: {udp: 53}}]")
	for port := range uint16(1000) {
		p := datagram(1)
		p.SourcePort = port
		w.see(p, out)
	}
	more := datagram(1)
	if w.see(more, out).Drop || w.counter(flow.TableFull) != 1 {
		t.Error("an allowed packet")
	}
	more.DestinationPort = 54
	if !w.see(more, out).Drop || w.counter(flow.TableFull) != 2 {
		t.Error("a blocked packet")
	}
	w.see(more, flow.Hook{Interface: 9, Egress: true, Judged: true})
	w.ends(1000)
	if w.counter(flow.TableFull) != 3 || w.Entries() != 1000 {
		t.Errorf("%d entries", w.Entries())
	}
	w.wait(limits.UDP + time.Second)
	w.sweep()
	w.see(datagram(1), out)
	if w.Entries() != 1 {
		t.Errorf("%d entries", w.Entries())
	}
}

func TestLatePackets(t *testing.T) {
	w := newWorld(t, "")
	w.send(after(open(), c(rst, clientNext, 0, 0))...)
	w.ends(1, flow.EndRST)
	w.send(s(ack, serverNext, clientNext, 10), c(rst, clientNext, 0, 0))
	w.ends(1, flow.EndRST)
	if n := w.counter(flow.Late); n != 2 {
		t.Errorf("%d late", n)
	}
}
