package datapath

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/classifier"
	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

var generatedSequences = flag.Int("weir.sequences", 3000, "sequences of packets that the kernel's tracker and Go's are compared on")

const (
	policiesAtOnce     = 3
	sequencesPerRound  = 300
	sequencesPerSwap   = 30 // of so many one has changes of policy, which take 30 ms each
	rerouted           = 50 * time.Millisecond
	pause              = 60 * time.Millisecond
	rememberedDatagram = 512
	rejectBurst        = 64 // REJECT_BURST of bpf/reject.h
)

type stepKind int

const (
	aPacket stepKind = iota
	aSwap
	aSweep
	aPause
)

// step is something that happens to both trackers.
type step struct {
	kind   stepKind
	at     place // of a packet
	frame  []byte
	gso    uint32
	policy int // that is put in force
	// sweep has a bit for each of the four timeouts, set where it is over at once,
	// and one for updates.
	sweep int
}

// inspected is a policy in its three forms.
type inspected struct {
	text   policyText
	policy *policy.Policy
	tables *classifier.Tables
}

func inspect(text policyText) (*inspected, error) {
	p, err := text.load()
	if err != nil {
		return nil, err
	}
	tables, err := classifier.Compile(p, time.Now())
	return &inspected{text, p, tables}, err
}

// twins are the kernel's tracker and the reference.
type twins struct {
	*world
	policies  []*inspected
	inForce   int     // the policy that the kernel has; -1: another
	known     *totals // the kernel's, as they were left; nil: to be read
	retries   int
	sightings int
	swaps     int
	refused   int // frames that BPF_PROG_TEST_RUN does not take
}

func newTwins(t testing.TB, d *Datapath) *twins {
	return &twins{world: newWorld(t, d), inForce: -1}
}

// round draws policies for the next sequences.
func (w *twins) round(t testing.TB, r *rand.Rand) {
	t.Helper()
	w.policies, w.inForce, w.known = nil, -1, nil
	for range policiesAtOnce {
		p, err := inspect(policies{r}.policy())
		if err != nil {
			t.Fatalf("a generated policy is refused: %v\n%s", err, p.text)
		}
		w.policies = append(w.policies, p)
	}
}

// find compares the two on so many sequences, and returns the first that shows a
// difference, and its number.
func (w *twins) find(t testing.TB, r *rand.Rand, sequences int) ([]step, string, int) {
	t.Helper()
	g := &traffic{Rand: r, world: w.world}
	for n := range sequences {
		if n%sequencesPerRound == 0 {
			w.round(t, r)
		}
		if n%sequencesPerRound == 0 {
			w.setAgent(t, r.IntN(3) == 0)
		}
		first := max(w.inForce, 0)
		steps := append([]step{{kind: aSwap, policy: first}}, g.sequence(r.IntN(sequencesPerSwap) == 0)...)
		if difference := w.try(t, steps); difference != "" {
			return steps, difference, n
		}
	}
	return nil, "", sequences
}

// TestTrackerAgainstReference sends generated sequences of packets, under
// generated policies, by several interfaces, through the programs and through
// internal/flow: answers, events and counters must be the same. A difference is
// cut down to the least that shows it.
func TestTrackerAgainstReference(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newTwins(t, open(t))
	steps, difference, n := w.find(t, rand.New(rand.NewPCG(seed, 0)), *generatedSequences)
	t.Logf("%d sequences, %d packets, %d changes of policy; %d repeated for the clock's sake", n, w.sightings, w.swaps, w.retries)
	if w.refused > 0 {
		t.Errorf("the kernel did not take %d frames", w.refused)
	}
	if difference != "" {
		t.Logf("sequence %d: %s", n, difference)
		steps = w.shorten(t, steps)
		t.Fatalf("the least that differs: %s\n%s", w.try(t, steps), w.describe(steps))
	}
}

// try runs the steps through both and says how they differ, if they do. Where the
// time between two packets was so near to one that matters that the two clocks may
// disagree, it runs them again.
func (w *twins) try(t testing.TB, steps []step) string {
	t.Helper()
	for range 20 {
		spans, difference := w.once(t, steps)
		if difference == "" || !w.isTight(spans) {
			return difference
		}
		w.retries++
	}
	t.Fatal("the clocks never agree")
	return ""
}

// isTight: the kernel's clock is read within a span, the reference's before it.
func (w *twins) isTight(spans []span) bool {
	limits := []time.Duration{rerouted}
	for _, p := range w.policies {
		for _, rule := range p.policy.Rules {
			for _, tr := range rule.Transports {
				if tr.Over > 0 {
					limits = append(limits, tr.Over)
				}
			}
		}
	}
	for i, a := range spans {
		for _, b := range spans[i+1:] {
			for _, limit := range limits {
				if b.from-a.to <= int64(limit) && int64(limit) <= b.to-a.from {
					return true
				}
			}
		}
	}
	return false
}

// once runs the steps through both.
func (w *twins) once(t testing.TB, steps []step) ([]span, string) {
	t.Helper()
	d := w.datapath
	w.forget(t)
	d.drain(t)
	if w.agent {
		w.setAgent(t, true) // it must have been heard of lately
	}
	before := w.known
	if before == nil {
		before = w.read(t)
	}
	w.known = nil
	twin := flow.New(flow.Config{MaxEntries: 1000})
	pieces := packet.NewFragments(rememberedDatagram)
	spans := make([]span, len(steps))
	for i := range spans {
		spans[i] = span{math.MaxInt64, math.MaxInt64} // not yet
	}
	kernelLines := &lines{spans: spans, ids: map[uint64]int{}, tables: map[uint32]int{}}
	twinLines := &lines{spans: spans, ids: map[uint64]int{}, tables: map[uint32]int{}}
	var told []flow.Event
	var want totals
	answered := map[netip.Addr]int{}
	compare := func() string {
		difference := compareEvents(d.drain(t), reference(told), kernelLines, twinLines)
		told = told[:0]
		return difference
	}
	for i, s := range steps {
		var answer uint32
		var err error
		from := now(t)
		switch s.kind {
		case aSwap:
			p := w.policies[s.policy]
			if i > 0 || w.inForce != s.policy {
				if _, err := d.Swap(p.tables, 1); err != nil {
					t.Fatal(err)
				}
				w.inForce = s.policy
				w.swaps++
				before.forgetMatches()
			}
			kernelLines.tables[d.tables] = s.policy
			tables, _ := twin.Swap(p.policy)
			twinLines.tables[tables] = s.policy
			spans[i] = span{from, from}
			continue
		case aPause:
			time.Sleep(pause)
			spans[i] = span{from, from}
			continue
		case aSweep:
			if difference := compare(); difference != "" {
				return spans, difference
			}
			limits, update := sweepLimits(s.sweep)
			found, err := d.Sweep(Timeouts(limits), update)
			if err != nil {
				t.Fatal(err)
			}
			if !w.agent {
				w.setAgent(t, false)
			}
			spans[i] = span{from, now(t)}
			swept, events := twin.Sweep(from, &limits, update, told)
			told = events
			if found.Active != swept.Active {
				return spans, fmt.Sprintf("step %d: the kernel has %d live connections, the reference %d", i, found.Active, swept.Active)
			}
			kernelLines.sorted, twinLines.sorted = true, true
			difference := compare()
			kernelLines.sorted, twinLines.sorted = false, false
			if difference != "" {
				return spans, difference
			}
			continue
		}
		w.sightings++
		answer, err = w.run(s.at, s.frame, s.gso)
		if errors.Is(err, unix.EINVAL) { // shorter than its headers, or too long
			w.refused++
			spans[i] = span{from, from}
			continue
		}
		if err != nil {
			t.Fatalf("run program on %x: %v", s.frame, err)
		}
		spans[i] = span{from, now(t)}
		var p packet.Packet
		outcome := w.decode(&p, &s)
		hook := w.hook(s.at, s.frame, &p)
		if !hook.Flooded { // which is not looked at
			outcome = pieces.Follow(&p, outcome, hook.Number(), time.Unix(0, from))
		}
		var result flow.Result
		result, told = twin.Process(&p, outcome, &hook, from, told)
		expected := w.answers(&s, &p, result)
		if expected == redirect {
			if answered[p.Source]++; answered[p.Source] > rejectBurst {
				expected = answer // the sender's budget is used up, or not
			}
		}
		if answer != expected {
			return spans, fmt.Sprintf("step %d: the kernel answers %d, the reference %+v (%d); %v", i, int32(answer), result, int32(expected), outcome)
		}
	}
	if difference := compare(); difference != "" {
		return spans, difference
	}
	want.of(twin)
	return spans, w.compareTotals(t, before, &want, twin)
}

// answers is what the program is to return for a result of the reference.
func (w *twins) answers(s *step, p *packet.Packet, result flow.Result) uint32 {
	switch {
	case !result.Drop, result.Answer == flow.ResetBoth: // the packet goes on, as an RST
		return pass
	case result.Answer == flow.NoAnswer, isGroupMAC(s.frame):
		return drop
	case p.Protocol != packet.TCP && p.Network != 14:
		return drop // no room is made between a tag and what it tags
	case s.at.egress && s.at.at == loopback:
		return pass // it turns around by itself
	}
	return redirect
}

func sweepLimits(bits int) (flow.Timeouts, time.Duration) {
	limit := func(bit int) time.Duration {
		if bits>>bit&1 != 0 {
			return 0
		}
		return time.Hour
	}
	return flow.Timeouts{TCP: limit(0), TCPClosing: limit(1), UDP: limit(2), ICMP: limit(3)}, time.Duration(bits >> 4)
}

func now(t testing.TB) int64 {
	t.Helper()
	n, err := monotonic()
	if err != nil {
		t.Fatal(err)
	}
	return int64(n)
}

// forget empties the flow table, the datagrams and the budgets of answers.
func (w *twins) forget(t testing.TB) {
	t.Helper()
	o := &w.datapath.objects
	for _, m := range []*ebpf.Map{o.Flows, o.RejectBudgets, o.Fragments} {
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
