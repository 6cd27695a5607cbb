package datapath

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"go.uber.org/zap/zaptest"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
)

// openSmall gives a datapath with room for few connections, whose openings are
// told of at the rate that users have.
func openSmall(t *testing.T, entries uint32) *Datapath {
	t.Helper()
	nstest.Need(t)
	d, err := Open(Config{MaxEntries: entries, Include: []string{"none"}}, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// tcpFrame is a frame with TCP flags, numbers and payload.
func tcpFrame(tp packet.Tuple, flags byte, seq, ack uint32, payload int) []byte {
	b := frame(tp)
	binary.BigEndian.PutUint32(b[38:], seq)
	binary.BigEndian.PutUint32(b[42:], ack)
	b[47] = flags
	b = append(b, make([]byte, payload)...)
	binary.BigEndian.PutUint16(b[16:], uint16(40+payload))
	rightChecksum(b)
	return b
}

const (
	syn = 2
	ack = 16
)

// TestFlood sends many more SYNs than the table has room for, from made-up
// sources, beside connections that carry data: none of those is evicted or
// misjudged, and every connection of the flood is told of or counted, once.
func TestFlood(t *testing.T) {
	for name, c := range map[string]struct {
		policy   string
		answered bool // by a SYN-ACK, as an open port does
		want     uint32
	}{
		"unanswered": {"mode: prevent\nreject: never\nrules: [{name: a, action: allow, layer4: {tcp: 80}}]", false, pass},
		"answered":   {"mode: prevent\nreject: never\nrules: [{name: a, action: allow, layer4: {tcp: 80}}]", true, pass},
		"blocked":    {"mode: prevent\nreject: never\nrules: [{name: a, action: allow, layer4: {tcp: 443}}]", false, drop},
		"rejected":   {"mode: prevent\nreject: always\nrules: [{name: a, action: allow, layer4: {tcp: 443}}]", false, drop},
	} {
		t.Run(name, func(t *testing.T) {
			d := openSmall(t, 8192)
			swap(t, d, load(t, c.policy))
			const settled, flood = 1000, 24_000
			told := map[uint8]uint64{}
			gather := func() { gatherEvents(t, d, told) }
			established := func(i int) packet.Tuple {
				return packet.Tuple{
					Source: address("10.9.0.1"), Destination: address("10.0.0.2"), Protocol: packet.TCP,
					SourcePort: uint16(1024 + i), DestinationPort: []uint16{80, 443}[btoi(name == "blocked" || name == "rejected")],
				}
			}
			for i := range settled {
				tp := established(i)
				run(t, d.objects.Ingress, tcpFrame(tp, syn, 100, 0, 0))
				run(t, d.objects.Ingress, tcpFrame(tp.Reversed(), syn|ack, 500, 101, 0))
				run(t, d.objects.Ingress, tcpFrame(tp, ack, 101, 501, 0))
			}
			gather()
			if told[uint8(bpf.ConnectionsEventKindEVENT_START)] != settled {
				t.Fatalf("%v told of %d connections", told, settled)
			}
			random := rand.New(rand.NewPCG(1, 1))
			for i := range flood {
				tp := packet.Tuple{
					Source: address4(11, uint32(i)), Destination: address("10.0.0.2"), Protocol: packet.TCP,
					SourcePort: uint16(random.Uint32()), DestinationPort: 80,
				}
				seq := random.Uint32()
				answer := run(t, d.objects.Ingress, tcpFrame(tp, syn, seq, 0, 0))
				if name != "rejected" && answer != c.want {
					t.Fatalf("SYN %d: answer %d, want %d", i, int32(answer), int32(c.want))
				}
				if c.answered {
					run(t, d.objects.Ingress, tcpFrame(tp.Reversed(), syn|ack, random.Uint32(), seq+1, 0))
					if i%4 == 0 { // who makes up a source cannot know the number
						run(t, d.objects.Ingress, tcpFrame(tp, ack, seq+1, random.Uint32(), 0))
					}
				}
				if i%20 == 0 {
					n := i / 20 % settled
					tp := established(n)
					if answer := run(t, d.objects.Ingress, tcpFrame(tp, ack, 101, 501, 10)); answer != pass {
						t.Fatalf("a packet of an established connection got %d", int32(answer))
					}
				}
				if i%10_000 == 0 {
					sweepNow(t, d)
					gather()
				}
			}
			for i := range settled {
				f := entry(t, d, established(i))
				if f.Flags&uint32(bpf.ConnectionsFlowFlagsFLOW_SETTLED) == 0 || f.Packets[0] < 3 {
					t.Fatalf("connection %d: flags %#x, packets %v", i, f.Flags, f.Packets)
				}
			}
			// The rest of the flood ends by its timeout.
			timeouts := Timeouts{TCP: time.Hour, TCPClosing: time.Nanosecond, UDP: time.Hour, ICMP: time.Hour}
			if _, err := d.Sweep(timeouts, 0); err != nil {
				t.Fatal(err)
			}
			gather()
			for kind, want := range map[bpf.ConnectionsEventKind]uint64{
				bpf.ConnectionsEventKindEVENT_START: settled + flood, bpf.ConnectionsEventKindEVENT_END: flood,
			} {
				if told[uint8(kind)] != want {
					t.Errorf("kind %d: %d connections told of or counted, want %d", kind, told[uint8(kind)], want)
				}
			}
			counters, err := d.Counters()
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range counters {
				if c.Name == "flow_table_full" && c.Count > 0 || c.Name == "flood_untold" && c.Count > 0 || c.Name == "evicted" && c.Count == 0 {
					t.Errorf("%s: %d", c.Name, c.Count)
				}
			}
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func sweepNow(t *testing.T, d *Datapath) {
	t.Helper()
	_, err := d.Sweep(Timeouts{TCP: time.Hour, TCPClosing: time.Hour, UDP: time.Hour, ICMP: time.Hour}, 0)
	if err != nil {
		t.Fatal(err)
	}
}

// gatherEvents adds up the connections that events stand for, by kind.
func gatherEvents(t *testing.T, d *Datapath, told map[uint8]uint64) {
	t.Helper()
	floods, err := d.Floods()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range floods {
		if e.Tuple.Destination != address("10.0.0.2") || e.Tuple.DestinationPort != 80 || e.Last.Before(e.First) || e.Count == 0 {
			t.Errorf("flood %+v", e)
		}
		told[e.Kind] += e.Count
	}
	var record ringbuf.Record
	clock := newClock()
	d.events.SetDeadline(time.Now())
	for {
		err := d.events.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		e, _ := d.decode(record.RawSample, clock)
		told[e.Kind] += e.Count
	}
}
