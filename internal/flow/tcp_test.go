package flow_test

import (
	"testing"

	"github.com/weirnet/weir/internal/flow"
)

// After open(): the client has sent up to clientNext, the server up to serverNext.
const (
	clientNext = client + 101
	serverNext = server + 201
)

// TestStragglers: what was on its way when an end reset the connection is in the
// record of the end.
func TestStragglers(t *testing.T) {
	w := newWorld(t, "")
	w.send(open()...)
	w.send(c(rst, client+101, 0, 0))
	w.sweep()
	if n := len(w.of(flow.EventEnd)); n != 0 {
		t.Fatalf("%d ends while packets are under way", n)
	}
	w.send(s(ack, server+201, client+101, 1000), s(ack, server+1201, client+101, 500))
	w.ends(1, flow.EndRST)
	if e := w.of(flow.EventEnd)[0]; e.Sent[1].Bytes < 1500 {
		t.Errorf("the server sent %v", e.Sent[1])
	}
	if n := w.counter(flow.Late); n != 0 {
		t.Errorf("%d late", n)
	}
}

func TestTCP(t *testing.T) {
	type ends = []flow.End
	for _, test := range []struct {
		name     string
		segments []segment
		starts   int
		ends     ends
	}{
		{"handshake", handshake, 1, nil},
		{"data", open(), 1, nil},
		{"close by client", after(open(),
			c(fin|ack, clientNext, serverNext, 0), s(ack, serverNext, clientNext+1, 0),
			s(fin|ack, serverNext, clientNext+1, 0), c(ack, clientNext+1, serverNext+1, 0)), 1, ends{flow.EndFIN}},
		{"close in three", after(open(),
			c(fin|ack, clientNext, serverNext, 0), s(fin|ack, serverNext, clientNext+1, 0),
			c(ack, clientNext+1, serverNext+1, 0)), 1, ends{flow.EndFIN}},
		{"close with data", after(open(),
			c(fin|ack, clientNext, serverNext, 50), s(fin|ack, serverNext, clientNext+51, 60),
			c(ack, clientNext+51, serverNext+61, 0)), 1, ends{flow.EndFIN}},
		{"simultaneous close", after(open(),
			c(fin|ack, clientNext, serverNext, 0), s(fin|ack, serverNext, clientNext, 0),
			c(ack, clientNext+1, serverNext+1, 0), s(ack, serverNext+1, clientNext+1, 0)), 1, ends{flow.EndFIN}},
		{"half close", after(open(),
			c(fin|ack, clientNext, serverNext, 0), s(ack, serverNext, clientNext+1, 1000),
			c(ack, clientNext+1, serverNext+1000, 0)), 1, nil},
		{"half close, then the other", after(open(),
			c(fin|ack, clientNext, serverNext, 0), s(ack, serverNext, clientNext+1, 1000),
			c(ack, clientNext+1, serverNext+1000, 0), s(fin|ack, serverNext+1000, clientNext+1, 0),
			c(ack, clientNext+1, serverNext+1001, 0)), 1, ends{flow.EndFIN}},
		{"FIN retransmitted", after(open(),
			c(fin|ack, clientNext, serverNext, 0), c(fin|ack, clientNext, serverNext, 0),
			s(fin|ack, serverNext, clientNext+1, 0), s(fin|ack, serverNext, clientNext+1, 0),
			c(ack, clientNext+1, serverNext+1, 0), c(ack, clientNext+1, serverNext+1, 0)), 1, ends{flow.EndFIN}},
		{"FIN after a gap that is closed", after(open(),
			c(fin|ack, clientNext+100, serverNext, 0), c(ack, clientNext, serverNext, 100),
			s(fin|ack, serverNext, clientNext+101, 0), c(ack, clientNext+101, serverNext+1, 0)), 1, ends{flow.EndFIN}},
		{"FIN after a gap that was not seen to close", after(open(),
			c(fin|ack, clientNext+100, serverNext, 0), s(fin|ack, serverNext, clientNext+101, 0),
			c(ack, clientNext+101, serverNext+1, 0)), 1, ends{flow.EndFIN}},
		{"FIN after a gap, never acknowledged", after(open(),
			c(fin|ack, clientNext+100, serverNext, 0), s(fin|ack, serverNext, clientNext, 0),
			c(ack, clientNext, serverNext+1, 0)), 1, nil},
		{"blind FINs behind what is expected", after(open(),
			c(fin|ack, clientNext-50, serverNext, 0), s(fin|ack, serverNext-50, clientNext, 0),
			c(ack, clientNext, serverNext, 0), s(ack, serverNext, clientNext, 0)), 1, nil},
		{"blind FINs ahead of what is expected", after(open(),
			c(fin|ack, clientNext+5000, serverNext+5001, 0), s(fin|ack, serverNext+5000, clientNext+5001, 0),
			c(ack, clientNext, serverNext, 0), s(ack, serverNext, clientNext, 0)), 1, nil},

		{"RST at the expected number", after(open(), c(rst, clientNext, 0, 0)), 1, ends{flow.EndRST}},
		{"RST of the server", after(open(), s(rst|ack, serverNext, clientNext, 0)), 1, ends{flow.EndRST}},
		{"RST at what is acknowledged, after lost data", after(open(),
			c(ack, clientNext, serverNext, 100), c(rst, clientNext, 0, 0)), 1, ends{flow.EndRST}},
		{"RST after data in flight", after(open(),
			c(ack, clientNext, serverNext, 100), c(rst, clientNext+100, 0, 0)), 1, ends{flow.EndRST}},
		{"RST in the window", after(open(), c(rst, clientNext+1, 0, 0)), 1, nil},
		{"RST behind the window", after(open(), c(rst, client+1, 0, 0)), 1, nil},
		{"RST at 0", after(open(), c(rst, 0, 0, 0), s(rst, 0, 0, 0)), 1, nil},
		{"RST at 0 in the middle of the handshake", after(handshake[:2:2], s(rst, 0, 0, 0)), 1, nil},
		{"blind data, then RST after it", after(open(),
			s(ack, serverNext+9000, clientNext, 10), s(rst, serverNext+9010, 0, 0)), 1, nil},
		{"blind stale ACK, then RST at its number", after(open(),
			c(ack, clientNext, server+50, 0), s(rst, server+50, 0, 0)), 1, nil},
		{"blind data and ACK of it, then RST", after(open(),
			s(ack, serverNext+9000, clientNext, 10), c(ack, clientNext+7777, serverNext+9010, 0),
			s(rst, serverNext+9010, 0, 0)), 1, nil},
		{"RST for data after close", after(open(),
			c(fin|ack, clientNext, serverNext, 0), s(ack, serverNext, clientNext+1, 500),
			c(rst, clientNext+1, 0, 0)), 1, ends{flow.EndRST}},

		{"refused", []segment{c(syn, client, 0, 0), s(rst|ack, 0, client+1, 0)}, 1, ends{flow.EndRST}},
		{"refused, not by the acknowledgment", []segment{c(syn, client, 0, 0), s(rst|ack, 0, client, 0)}, 1, nil},
		{"refused without acknowledgment", []segment{c(syn, client, 0, 0), s(rst, 0, 0, 0)}, 1, nil},
		{"challenge ACK of an old connection, reset, then opened", []segment{
			c(syn, client, 0, 0), s(ack, 90000, 77777, 0), c(rst, 77777, 0, 0),
			c(syn, client, 0, 0), s(syn|ack, server, client+1, 0), c(ack, client+1, server+1, 0),
			c(rst, client+1, 0, 0),
		}, 1, ends{flow.EndRST}},

		{"SYN retransmitted", []segment{
			c(syn, client, 0, 0), c(syn, client, 0, 0), s(syn|ack, server, client+1, 0), c(ack, client+1, server+1, 0),
		}, 1, nil},
		{"SYN-ACK lost, SYN and SYN-ACK retransmitted", []segment{
			c(syn, client, 0, 0), s(syn|ack, server, client+1, 0), c(syn, client, 0, 0),
			s(syn|ack, server, client+1, 0), c(ack, client+1, server+1, 0),
		}, 1, nil},
		{"answered with two numbers, the second taken", []segment{
			c(syn, client, 0, 100), s(syn|ack, server, client+1, 0), c(syn, client, 0, 0), s(syn|ack, 3_000_000_000, client+1, 0),
			s(syn|ack, server, client+1, 0), s(syn|ack, 3_000_000_000, client+1, 0), c(ack, client+1, 3_000_000_001, 100),
			s(syn|ack, server, client+1, 0), s(ack, 3_000_000_001, client+101, 50), c(ack, client+101, 3_000_000_051, 0),
			s(fin|ack, 3_000_000_051, client+101, 0), c(fin|ack, client+101, 3_000_000_052, 0), s(ack, 3_000_000_052, client+102, 0),
		}, 1, ends{flow.EndFIN}},
		{"answered with two numbers, the first taken", []segment{
			c(syn, client, 0, 0), s(syn|ack, server, client+1, 0), c(ack, client+1, server+1, 0), s(syn|ack, 70000, client+1, 0),
			c(rst, 70000, 0, 0), c(rst, client+1, 0, 0),
		}, 1, ends{flow.EndRST}},
		{"answered with another number, but not this SYN", []segment{
			c(syn, client, 0, 0), s(syn|ack, server, client+1, 0), s(syn|ack, 70000, client+2, 0), s(syn|ack, 70000, client, 0),
			c(ack, client+1, server+1, 0), s(rst, 70001, 0, 0), s(rst, server+1, 0, 0),
		}, 1, ends{flow.EndRST}},
		{"a FIN of the answer that was not taken", []segment{
			c(syn, client, 0, 100), s(syn|ack, server, client+101, 0), s(fin|ack, server+1, client+101, 0),
			s(syn|ack, 70000, client+101, 0), c(ack, client+101, 70001, 0), c(fin|ack, client+101, 70001, 0), s(ack, 70001, client+102, 0),
		}, 1, nil},
		{"simultaneous open", []segment{
			c(syn, client, 0, 0), s(syn, server, 0, 0), c(syn|ack, client, server+1, 0),
			s(syn|ack, server, client+1, 0), c(ack, client+1, server+1, 10), s(ack, server+1, client+11, 0),
			c(rst, client+11, 0, 0),
		}, 1, ends{flow.EndRST}},
		{"simultaneous open, closed", []segment{
			c(syn, client, 0, 0), s(syn, server, 0, 0), s(syn|ack, server, client+1, 0), c(syn|ack, client, server+1, 0),
			c(fin|ack, client+1, server+1, 0), s(fin|ack, server+1, client+2, 0), c(ack, client+2, server+2, 0),
		}, 1, ends{flow.EndFIN}},

		{"TFO", []segment{
			c(syn, client, 0, 100), s(syn|ack, server, client+101, 50), c(ack, client+101, server+51, 0),
			c(rst, client+101, 0, 0),
		}, 1, ends{flow.EndRST}},
		{"TFO, data not taken", []segment{
			c(syn, client, 0, 100), s(syn|ack, server, client+1, 0), c(ack, client+1, server+1, 100),
			s(ack, server+1, client+101, 0), c(rst, client+101, 0, 0),
		}, 1, ends{flow.EndRST}},
		{"TFO, retransmitted without data", []segment{
			c(syn, client, 0, 100), c(syn, client, 0, 0), s(syn|ack, server, client+1, 0),
			c(ack, client+1, server+1, 100),
		}, 1, nil},
		{"TFO, retransmitted without data and refused", []segment{
			c(syn, client, 0, 100), c(syn, client, 0, 0), s(rst|ack, 0, client+1, 0),
		}, 1, ends{flow.EndRST}},

		{"scans change nothing", after(open(), c(0, clientNext, 0, 0), c(fin, clientNext, 0, 0), c(syn|fin, 70000, 0, 0),
			s(syn|ack, 80000, 70001, 0), c(syn|rst, clientNext, 0, 0), s(ack, serverNext, clientNext+1, 0)), 1, nil},
		{"port used again after close", after(open(), c(rst, clientNext, 0, 0), c(syn, 70000, 0, 0),
			s(syn|ack, 80000, 70001, 0)), 2, ends{flow.EndRST}},
		{"port used again by the other end", after(open(), c(rst, clientNext, 0, 0), s(syn, 70000, 0, 0),
			c(syn|ack, 80000, 70001, 0)), 2, ends{flow.EndRST}},
		{"SYN of the other end after close, challenged", after(open(), c(rst, clientNext, 0, 0), s(syn, 70000, 0, 0),
			c(ack, clientNext, serverNext, 0)), 1, ends{flow.EndRST}},
		{"RST that nobody takes, then data", after(open(), c(rst, clientNext, 0, 0), c(ack, clientNext, serverNext, 100),
			s(ack, serverNext, clientNext+100, 0)), 2, ends{flow.EndRST}},
		{"RST before any data that nobody takes, then a whole connection", after(handshake, c(rst, client+1, 0, 0),
			c(ack, client+1, server+1, 100), s(ack, server+1, client+101, 200), c(ack, client+101, server+201, 0),
			c(rst, clientNext, 0, 0)), 2, ends{flow.EndRST, flow.EndRST}},
		{"RST of the server that nobody takes, then an answer", after(open(), s(rst, serverNext, 0, 0), c(ack, clientNext, serverNext, 100),
			s(ack, serverNext, clientNext+100, 0)), 2, ends{flow.EndRST}},
		{"RST that nobody takes, then an acknowledgment", after(open(), c(rst, clientNext, 0, 0), s(ack, serverNext, clientNext, 50),
			c(ack, clientNext, serverNext+50, 0)), 2, ends{flow.EndRST}},
		{"RST, then what it has overtaken", after(open(), c(ack, clientNext, serverNext, 100), c(rst, clientNext+100, 0, 0),
			s(ack, serverNext, clientNext, 500), c(ack, clientNext, serverNext, 100), c(ack, clientNext+50, serverNext, 50)), 1, ends{flow.EndRST}},
		{"RST, then a blind segment far ahead", after(open(), c(rst, clientNext, 0, 0), c(ack, clientNext+100, serverNext, 100)), 1, ends{flow.EndRST}},
		{"tried again with the same number after RST", []segment{
			c(syn, client, 0, 0), s(rst|ack, 0, client+1, 0), c(syn, client, 0, 0), s(syn|ack, server, client+1, 0),
		}, 2, ends{flow.EndRST}},
		{"SYN retransmitted after RST", []segment{
			c(syn, client, 0, 0), s(rst|ack, 0, client+1, 0), c(syn, client, 0, 0), s(rst|ack, 0, client+1, 0),
		}, 1, ends{flow.EndRST}},
		{"new SYN on an open tuple, answered", after(open(), c(syn, 70000, 0, 0), s(syn|ack, 80000, 70001, 0),
			c(ack, 70001, 80001, 0)), 2, ends{flow.EndTimeout}},
		{"new SYN on an open tuple, challenged", after(open(), c(syn, 70000, 0, 0), s(ack, serverNext, clientNext, 0),
			c(ack, clientNext, serverNext, 10), c(rst, clientNext+10, 0, 0)), 1, ends{flow.EndRST}},
		{"blind SYN, then RST after it", after(open(), c(syn, clientNext+500, 0, 0), c(rst, clientNext+501, 0, 0)), 1, nil},
		{"blind SYN, and a SYN-ACK that does not answer it", after(open(), c(syn, 70000, 0, 0), s(syn|ack, 80000, 70002, 0)), 1, nil},
		{"SYN never answered, then another", []segment{
			c(syn, client, 0, 0), c(syn, 70000, 0, 0), s(syn|ack, 80000, 70001, 0),
		}, 2, ends{flow.EndTimeout}},
		{"two SYNs, the first answered", []segment{
			c(syn, client, 0, 0), c(syn, 70000, 0, 0), s(syn|ack, server, client+1, 0), c(ack, client+1, server+1, 0),
			c(rst, client+1, 0, 0),
		}, 1, ends{flow.EndRST}},

		{"picked up in the middle, closed", []segment{
			c(ack, 500, 900, 10), s(ack, 900, 510, 20), c(fin|ack, 510, 920, 0), s(fin|ack, 920, 511, 0),
			c(ack, 511, 921, 0),
		}, 1, ends{flow.EndFIN}},
		{"picked up at an answer", []segment{
			s(ack, 900, 510, 20), c(rst, 510, 0, 0),
		}, 1, ends{flow.EndRST}},
		{"picked up at the SYN-ACK", []segment{
			s(syn|ack, server, client+1, 0), c(ack, client+1, server+1, 5), s(rst, server+1, 0, 0),
		}, 1, ends{flow.EndRST}},
		{"an RST alone", []segment{c(rst, 1, 0, 0), c(rst, 1, 0, 0)}, 1, nil},
		{"only one way seen", []segment{
			c(syn, client, 0, 0), c(ack, client+1, server+1, 10), c(fin|ack, client+11, server+100, 0),
		}, 1, nil},
		{"numbers that wrap", []segment{
			c(syn, 0xfffffff0, 0, 0), s(syn|ack, 0xffffffff, 0xfffffff1, 0), c(ack, 0xfffffff1, 0, 100),
			s(fin|ack, 0, 85, 0), c(fin|ack, 85, 1, 0), s(ack, 1, 86, 0),
		}, 1, ends{flow.EndFIN}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, "")
			w.send(test.segments...)
			w.ends(test.starts, test.ends...)
			w.consistent()
			for _, e := range w.of(flow.EventStart) {
				if e.Tuple.DestinationPort != 443 && test.name != "port used again by the other end" {
					t.Errorf("destination %v:%d, want the server", e.Tuple.Destination, e.Tuple.DestinationPort)
				}
			}
		})
	}
}

func after(first []segment, more ...segment) []segment {
	return append(append([]segment(nil), first...), more...)
}

// A new connection's SYN counts for it, not for the one that had the tuple.
func TestCandidateIsCountedOnce(t *testing.T) {
	w := newWorld(t, "")
	w.send(open()...)
	last := w.now - 1e6
	w.wait(1e9)
	began := w.now
	w.send(c(syn, 70000, 0, 0), c(syn, 70000, 0, 0), s(syn|ack, 80000, 70001, 0), c(rst, 70001, 0, 0))
	w.ends(2, flow.EndTimeout, flow.EndRST)
	ends := w.of(flow.EventEnd)
	if old := ends[0]; old.Sent[0].Packets != 4 || old.Sent[0].Bytes != 4*headers+100 || old.Last != last {
		t.Errorf("the old one: %+v", old)
	}
	if n := ends[1]; n.Sent[0].Packets != 3 || n.Sent[1].Packets != 1 || n.First != began || n.Interface != 2 {
		t.Errorf("the new one: %+v", n)
	}
	if e := w.events[2]; e.Kind != flow.EventStart || e.Time != began {
		t.Errorf("its start: %+v", e)
	}
}
