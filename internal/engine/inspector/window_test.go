package inspector_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/packet"
)

// TestWindowOfALongBody: what is left out of a body lies at what came last of it, also
// where its end is further away than half of the sequence numbers.
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
			got = append(got, fmt.Sprintf("%d-%d at %d", s.Windows[0].From, s.Windows[0].Until, seq))
		}
		w.take()
	}
	const head = "POST /up HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 1000000000000000\r\n\r\n"
	body := strings.Repeat("b", 16384)
	send(head)
	send(body)
	seq += 1 << 20 // left out
	send(body)     // inside of the window: nothing is new
	seq += 1 << 28
	send(body) // behind it
	first, last := uint32(1001+len(head)), seq
	want := []string{
		fmt.Sprintf("%d-%d at %d", first, first+1<<28, first),
		fmt.Sprintf("%d-%d at %d", last, last+1<<28, last),
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("windows %q, want %q", got, want)
	}
}
