package datapath

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

var generatedSequences = flag.Int("weir.sequences", 500, "sequences of packets that the kernel's tracker and Go's are compared on")

var trackedPolicies = []string{
	"mode: detect\n",
	"mode: prevent\nreject: always\nrules: [{name: one, action: allow, layer4: {tcp: 1}}, {name: two, action: allow, layer4: [udp, icmp]}]",
	"mode: prevent\nreject: never\nrules: [{name: three, action: block, layer4: {tcp: 1}}, {name: four, action: allow}]",
}

// TestTrackerAgainstReference sends generated sequences of packets, with changes
// of policy between them, through the program and through internal/flow: the
// answers and the events must be the same. A difference is cut down to the
// shortest sequence that shows it.
func TestTrackerAgainstReference(t *testing.T) {
	d := open(t)
	inForce = -1
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for n := range *generatedSequences {
		steps := sequence(random)
		if difference := tryTwice(t, d, steps); difference != "" {
			steps = shorten(t, d, steps)
			t.Fatalf("sequence %d: %s\n%s", n, tryTwice(t, d, steps), describe(steps))
		}
	}
}

// step is a packet, or a change of policy.
type step struct {
	frame  []byte
	policy int // valid where frame is nil
}

// sequence makes packets of a few connections that are nearly right: numbers near
// those expected, flags of all kinds.
func sequence(r *rand.Rand) []step {
	steps := []step{{policy: r.IntN(len(trackedPolicies))}}
	var next [2]uint32
	for i := range next {
		next[i] = uint32(r.IntN(3)) * 100
	}
	for range 3 + r.IntN(12) {
		if r.IntN(20) == 0 {
			steps = append(steps, step{policy: r.IntN(len(trackedPolicies))})
			continue
		}
		end := r.IntN(2)
		tp := packet.Tuple{
			Source: address("10.0.0.1"), Destination: address("10.0.0.2"), Protocol: packet.TCP,
			SourcePort: 40000, DestinationPort: uint16(1 + r.IntN(8)/7),
		}
		if r.IntN(12) == 0 {
			tp.Protocol = []uint8{packet.UDP, packet.ICMP, 47}[r.IntN(3)]
			tp.ICMPType = []uint8{8, 0, 13, 5}[r.IntN(4)]
		}
		if end == 1 {
			tp = tp.Reversed()
		}
		b := frame(tp)
		if tp.Protocol == packet.TCP {
			flags := []byte{2, 18, 16, 16, 16, 17, 4, 20, 1, 6, 0}[r.IntN(11)]
			seq, ack := next[end]+uint32(r.IntN(5)/4*(r.IntN(7)-3)), next[1-end]+uint32(r.IntN(5)/4*(r.IntN(7)-3))
			payload := r.IntN(3) / 2 * r.IntN(4)
			binary.BigEndian.PutUint32(b[38:], seq)
			binary.BigEndian.PutUint32(b[42:], ack)
			b[47] = flags
			b = append(b, make([]byte, payload)...)
			binary.BigEndian.PutUint16(b[16:], uint16(40+payload))
			rightChecksum(b)
			if r.IntN(4) > 0 {
				next[end] = seq + uint32(payload) + uint32(flags&1) + uint32(flags>>1&1)
			}
		}
		steps = append(steps, step{frame: b})
	}
	return steps
}

// inForce is the policy that the kernel has.
var inForce = -1

// tryTwice runs the steps through both and says how they differ, if they do.
func tryTwice(t *testing.T, d *Datapath, steps []step) string {
	forget(t, d)
	drainEvents(t, d)
	twin := flow.New(flow.Config{MaxEntries: 1000})
	var told []flow.Event
	for i, s := range steps {
		if s.frame == nil {
			p := load(t, trackedPolicies[s.policy])
			if d.tables == 0 || s.policy != inForce {
				swap(t, d, p) // which takes long
				inForce = s.policy
			}
			twin.Swap(p)
			continue
		}
		answer := run(t, d.objects.Ingress, s.frame)
		var p packet.Packet
		outcome := p.Decode(&packet.Frame{Data: s.frame, Link: packet.LinkEthernet})
		now, err := monotonic()
		if err != nil {
			t.Fatal(err)
		}
		var want flow.Result
		want, told = twin.Process(&p, outcome, &flow.Hook{Interface: 1}, int64(now), told)
		// A reset connection's packet goes on, as an RST.
		drops := want.Drop && want.Answer != flow.ResetBoth
		if (answer != pass) != drops {
			return fmt.Sprintf("step %d: the kernel answers %d, the reference %+v", i, int32(answer), want)
		}
	}
	var reference []string
	for _, e := range told {
		reference = append(reference, fmt.Sprintf("%v %v %d sent %v verdict %d action %d reason %d rule %d end %d",
			e.Kind, e.Tuple, e.Direction, e.Sent, e.Verdict, e.Action, e.Reason, int32(e.Rule), e.End))
	}
	kernel := drainEvents(t, d)
	if got, want := strings.Join(kernel, "\n"), strings.Join(reference, "\n"); got != want {
		return fmt.Sprintf("the kernel tells\n%s\nthe reference\n%s", got, want)
	}
	return ""
}

func drainEvents(t testing.TB, d *Datapath) (list []string) {
	t.Helper()
	var record ringbuf.Record
	d.events.SetDeadline(time.Now())
	for {
		err := d.events.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := d.decode(record.RawSample, &clock{})
		if !ok {
			t.Fatal("an event of another size")
		}
		sent := [2]flow.Counts{{Packets: e.Packets[0], Bytes: e.Bytes[0]}, {Packets: e.Packets[1], Bytes: e.Bytes[1]}}
		list = append(list, fmt.Sprintf("%v %v %d sent %v verdict %d action %d reason %d rule %d end %d",
			flow.Kind(e.Kind), e.Tuple, e.Direction, sent, e.Verdict, e.Action, e.Reason, int32(e.Rule), e.End))
	}
}

// forget empties the flow table and the budgets of answers.
func forget(t testing.TB, d *Datapath) {
	t.Helper()
	for _, m := range []*ebpf.Map{d.objects.Flows, d.objects.RejectBudgets} {
		var keys [][]byte
		var key []byte
		var value []byte
		for all := m.Iterate(); all.Next(&key, &value); {
			keys = append(keys, append([]byte(nil), key...))
		}
		for _, k := range keys {
			if err := m.Delete(k); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// shorten takes steps out as long as there is a difference.
func shorten(t *testing.T, d *Datapath, steps []step) []step {
	for i := 1; i < len(steps); {
		less := append(append([]step(nil), steps[:i]...), steps[i+1:]...)
		if tryTwice(t, d, less) != "" {
			steps, i = less, 1
			continue
		}
		i++
	}
	return steps
}

func describe(steps []step) string {
	var b strings.Builder
	for i, s := range steps {
		if s.frame == nil {
			fmt.Fprintf(&b, "%d: policy %d\n", i, s.policy)
			continue
		}
		var p packet.Packet
		p.Decode(&packet.Frame{Data: s.frame, Link: packet.LinkEthernet})
		fmt.Fprintf(&b, "%d: %v flags %#x seq %d ack %d payload %d\n", i, p.Tuple, p.TCPFlags, p.Seq, p.Ack, p.PayloadLength)
	}
	return b.String()
}
