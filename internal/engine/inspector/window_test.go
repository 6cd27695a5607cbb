package inspector_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/packet"
)

// TestWindowOfALongBody: what is left out of a body lies around what came last of it, also
// where its end is further away than half of the sequence numbers. It moves on when half of
// it has come, and to the end of the body at most.
func TestWindowOfALongBody(t *testing.T) {
	w := newWorld(t, "", nil)
	c := inspector.Connection{
		ID: 77, FirstSeen: start, Direction: packet.Outbound,
		Tuple: packet.Tuple{Source: hostA, Destination: hostB, SourcePort: 4000, DestinationPort: 80, Protocol: packet.TCP},
	}
	seq := uint32(1001)
	var got []string
	send := func(payload string) {
		p := inspector.Packet{
			Time: w.now, Seq: seq, Ack: 501, Flags: packet.ACK, Payload: []byte(payload), LeftOut: &inspector.LeftOut{
				Initial: [2]uint32{1000, 500}, HasInitial: [2]bool{true, true}, Acked: [2]uint32{501, seq}, HasAcked: [2]bool{true, true},
			},
		}
		w.Packet(&c, &p)
		seq += uint32(len(payload))
		for _, s := range w.Settlements() {
			renews := ""
			if s.Windows[0].Renews {
				renews = "+"
			}
			got = append(got, fmt.Sprintf("%d-%d%s at %d", s.Windows[0].From, s.Windows[0].Until, renews, seq))
		}
		w.take()
	}
	const length = 900_000_000
	head := fmt.Sprintf("POST /up HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: %d\r\n\r\n", length)
	body := strings.Repeat("b", 16384)
	const most, behind = 1 << 28, 1 << 25
	send(head)
	first := seq
	send(body)
	want := []string{fmt.Sprintf("%d-%d+ at %d", first, first+most, first)}
	seq += 1 << 20 // left out
	send(body)     // in the first half: nothing is new
	seq = first + most/2
	send(body)
	want = append(want, fmt.Sprintf("%d-%d+ at %d", seq-behind, seq-behind+most, seq))
	seq += most // behind all of it
	send(body)
	want = append(want, fmt.Sprintf("%d-%d+ at %d", seq-behind, seq-behind+most, seq))
	seq = first + length - most/2
	send(body)
	want = append(want, fmt.Sprintf("%d-%d at %d", seq-behind, first+length, seq))
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("windows %q, want %q", got, want)
	}
}

// TestBehindAWindow: what comes behind bytes that passed without a look is judged when
// it comes, and not only when its receiver acknowledges those: it might wait for that.
func TestBehindAWindow(t *testing.T) {
	w := newWorld(t, "mode: prevent\nrules: [{name: reads, action: allow, layer7: {http: {paths: /ok}}}]\n", nil)
	k := w.open(80)
	k.client("POST /ok HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n")
	for range 3 {
		k.client("8000\r\n" + strings.Repeat("b", 4096))
		s := w.settled[1].Windows[0]
		if !s.Skips || s.Until != k.next[0]+0x8000-4096 {
			t.Fatalf("the window is %+v", s)
		}
		k.next[0] = s.Until - 100 // left out, but for what is in a packet with what follows
		k.segment(0, packet.ACK, strings.Repeat("b", 100)+"\r\n")
		if until, how := w.Judged(1, 0); how != inspector.Part || int32(until-k.next[0]) < 0 {
			t.Fatalf("%d bytes wait behind what was left out (%v)", k.next[0]-until, how)
		}
	}
	k.client("0\r\n\r\nGET /no HTTP/1.1\r\n\r\n")
	w.expect("the verdict", k.verdict(), "block default")
}

// TestJudgedOfALongBody: all that came of a body is judged, however much is to come.
func TestJudgedOfALongBody(t *testing.T) {
	w := newWorld(t, "mode: prevent\nrules: [{name: reads, action: allow, layer7: {http: {paths: /ok}}}]\n", nil)
	for _, length := range []uint64{1 << 20, 1 << 31, 3 << 30, 5 << 30, 1e15} {
		k := w.open(80)
		k.client(fmt.Sprintf("POST /ok HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n", length))
		k.client(strings.Repeat("b", 1000))
		if until, how := w.Judged(k.c.ID, 0); how != inspector.Part || int32(until-k.next[0]) < 0 {
			t.Errorf("of a body of %d bytes %d wait (%v)", length, int32(k.next[0]-until), how)
		}
	}
}
