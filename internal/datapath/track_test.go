package datapath

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/classifier"
	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/policy"
)

var generatedSequences = flag.Int("weir.sequences", 1500, "sequences of packets that the kernel's tracker and Go's are compared on")

const (
	policiesAtOnce     = 3
	sequencesPerRound  = 300
	sequencesPerSwap   = 12 // of so many one has changes of policy, which take 30 ms each
	rerouted           = 50 * time.Millisecond
	tick               = 1 << 20 * time.Nanosecond // of bpf/flow.h
	lingers            = time.Second               // LINGER_NS of bpf/sweep.h
	paused             = 60 * time.Millisecond
	rememberedDatagram = 512
	rejectBurst        = 64 // REJECT_BURST of bpf/reject.h
)

type stepKind int

const (
	aPacket stepKind = iota
	aSwap
	aSweep
	aPause
	aSettlement
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
	sweep  int
	settle settleStep
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
	inForce   int // the policy that the kernel has; -1: another
	look      Look
	hold      flow.Hold
	beaten    time.Time // when the kernel was told that somebody reads
	known     *totals   // the kernel's, as they were left; nil: to be read
	retries   int
	slower    time.Duration // how long a change of policy is to take longer
	given     []uint32      // the kernel's answers to the packets of the last run
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
	w.look = Look{TCP: r.IntN(3) == 0, UDP: r.IntN(3) == 0, Pending: r.IntN(3) == 0}
	if err := w.datapath.SetLook(w.look); err != nil {
		t.Fatal(err)
	}
	w.hold = flow.Hold{On: r.IntN(2) == 0, OnOpening: r.IntN(2) == 0}
	if r.IntN(2) == 0 {
		w.hold.OpenUntil = math.MaxInt64
	}
	w.beaten = time.Time{}
	if err := w.datapath.SetHold(w.hold.On, HoldConfig{OnOpening: w.hold.OnOpening}); err != nil {
		t.Fatal(err)
	}
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
		steps := g.sequence(r.IntN(sequencesPerSwap) == 0)
		if w.bare {
			steps = bared(steps)
		}
		steps = append([]step{{kind: aSwap, policy: first}}, steps...)
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
		w.fail(t, steps)
	}
}
