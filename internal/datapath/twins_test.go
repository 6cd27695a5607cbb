package datapath

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

// try runs the steps through both and says how they differ, if they do. Where the
// time between two packets was so near to one that matters that the two clocks may
// disagree, it runs them again, each time a little slower: a change of policy may
// take just as long.
func (w *twins) try(t testing.TB, steps []step) string {
	t.Helper()
	for n := range 20 {
		w.slower = time.Duration(n) * 3 * time.Millisecond
		spans, difference := w.once(t, steps)
		if difference == "" || !w.isTight(spans) {
			return difference
		}
		w.retries++
	}
	t.Fatal("the clocks never agree")
	return ""
}

// tight are times between two packets at which the clocks may disagree.
type tight struct{ from, to time.Duration }

// isTight: the kernel's clock is read within a span, the reference's before it. Of
// hooks the kernel compares ticks, of about a millisecond each: more than REROUTED
// (bpf/life.h), which is 48 of them, is at least that and at most 49.
func (w *twins) isTight(spans []span) bool {
	limits := []tight{{rerouted, 49 * tick}, {lingers, lingers}}
	for _, p := range w.policies {
		for _, rule := range p.policy.Rules {
			for _, tr := range rule.Transports {
				if tr.Over > 0 {
					limits = append(limits, tight{tr.Over, tr.Over})
				}
			}
		}
	}
	for i, a := range spans {
		for _, b := range spans[i+1:] {
			for _, limit := range limits {
				if b.from-a.to <= int64(limit.to) && int64(limit.from) <= b.to-a.from {
					return true
				}
			}
		}
	}
	return false
}

// trial is one run of some steps through both.
type trial struct {
	*twins
	twin     *flow.Tracker
	pieces   *packet.Fragments
	told     []flow.Event
	spans    []span // of the steps
	kernel   lines
	ours     lines
	before   *totals
	answered map[netip.Addr]int
	ids      map[bpf.ConnectionsFlowKey]toldOf // of the reference's connections
	credit   map[uint64]*[2]int                // of the kernel's, as far as copies say
	latest   uint32                            // number of the reference's policy
}

// toldOf is the connection that has a tuple.
type toldOf struct{ id, kernel uint64 }

// once runs the steps through both.
func (w *twins) once(t testing.TB, steps []step) ([]span, string) {
	t.Helper()
	forget(t, w.datapath)
	w.datapath.drain(t)
	w.given = w.given[:0]
	if w.agent {
		w.setAgent(t, true) // it must have been heard of lately
	}
	r := &trial{
		twins: w, twin: flow.New(flow.Config{MaxEntries: 1000}), pieces: packet.NewFragments(rememberedDatagram),
		spans: make([]span, len(steps)), before: w.known, answered: map[netip.Addr]int{},
		ids: map[bpf.ConnectionsFlowKey]toldOf{}, credit: map[uint64]*[2]int{},
	}
	r.twin.SetLook(flow.Look(w.look))
	r.twin.SetHold(w.hold)
	r.datapath.drainCopies(t)
	r.setReading(t)
	if w.known = nil; r.before == nil {
		r.before = w.read(t)
	}
	for i := range r.spans {
		r.spans[i] = span{math.MaxInt64, math.MaxInt64} // not yet
	}
	r.kernel = lines{spans: r.spans, ids: map[uint64]int{}, tables: map[uint32]int{}}
	r.ours = lines{spans: r.spans, ids: map[uint64]int{}, tables: map[uint32]int{}}
	for i := range steps {
		from, difference := now(t), ""
		switch s := &steps[i]; s.kind {
		case aSwap:
			r.swap(t, s.policy, i > 0)
		case aPause:
			time.Sleep(paused)
		case aSweep:
			difference = r.sweep(t, s, i)
		case aSettlement:
			difference = r.settle(t, &s.settle, i)
		case aPacket:
			difference = r.packet(t, s, i)
		}
		if difference != "" {
			return r.spans, fmt.Sprintf("step %d: %s", i, difference)
		}
		if r.spans[i].from == math.MaxInt64 { // nothing depends on its time
			r.spans[i] = span{from, from}
		}
	}
	if difference := r.compare(t); difference != "" {
		return r.spans, difference
	}
	var want totals
	want.of(r.twin)
	return r.spans, w.compareTotals(t, r.before, &want, r.twin)
}

// compare says how what both have told since differs.
func (r *trial) compare(t testing.TB) string {
	difference := compareEvents(r.datapath.drain(t), reference(r.told), &r.kernel, &r.ours)
	r.told = r.told[:0]
	return difference
}

// swap puts a policy in force. At the beginning the kernel may have it already.
func (r *trial) swap(t testing.TB, number int, always bool) {
	p := r.policies[number]
	if always || r.inForce != number {
		if _, err := r.datapath.Swap(p.tables, 1, nil, nil); err != nil {
			t.Fatal(err)
		}
		r.inForce = number
		r.swaps++
		r.before.forgetMatches()
		time.Sleep(r.slower)
	}
	r.kernel.tables[r.datapath.tables] = number
	tables, _ := r.twin.Swap(p.policy)
	r.ours.tables[tables] = number
	r.latest = tables
}

func (r *trial) sweep(t testing.TB, s *step, i int) string {
	if difference := r.compare(t); difference != "" {
		return difference
	}
	limits, update := sweepLimits(s.sweep)
	from := now(t)
	found, err := r.datapath.Sweep(Timeouts(limits), update)
	if err != nil {
		t.Fatal(err)
	}
	if !r.agent {
		r.setAgent(t, false) // whom the sweep has noted
	}
	r.spans[i] = span{from, now(t)}
	var swept flow.Swept
	swept, r.told = r.twin.Sweep(from, &limits, update, r.told)
	if found.Active != swept.Active {
		return fmt.Sprintf("the kernel has %d live connections, the reference %d", found.Active, swept.Active)
	}
	r.kernel.sorted, r.ours.sorted = true, true
	difference := r.compare(t)
	r.kernel.sorted, r.ours.sorted = false, false
	return difference
}

func (r *trial) packet(t testing.TB, s *step, i int) string {
	r.setReading(t)
	r.datapath.forgetTime(t)
	if r.xdp != nil {
		r.xdp.forgetTime(t)
	}
	from := now(t)
	answer, err := r.run(s.at, s.frame, s.gso)
	if errors.Is(err, unix.EINVAL) { // shorter than its headers, or too long
		r.refused++
		return ""
	}
	if err != nil {
		t.Fatalf("run program on %x: %v", s.frame, err)
	}
	r.spans[i] = span{from, now(t)}
	r.given = append(r.given, answer)
	r.sightings++
	var p packet.Packet
	outcome := r.decode(&p, s)
	hook := r.hook(s.at, s.frame, &p)
	if !hook.Flooded { // which is not looked at
		outcome = r.pieces.Follow(&p, outcome, hook.Number(), time.Unix(0, from))
	}
	var result flow.Result
	already := len(r.told)
	result, r.told = r.twin.Process(&p, outcome, &hook, from, r.told)
	if told := r.told[already:]; len(told) > 0 {
		e := &told[len(told)-1] // an old one's end comes first
		k, _ := flowKey(e.Tuple)
		var f bpf.ConnectionsFlow
		if err := ignoreAbsent(r.datapath.objects.Flows.Lookup(k, &f)); err != nil {
			t.Fatal(err)
		}
		if had := r.ids[k]; f.Id == 0 || f.Id != had.kernel { // else it was dropped beside that
			r.ids[k] = toldOf{e.ID, f.Id}
		}
	}
	expected := r.answers(s, &p, result)
	if result.Held && answer == redirect {
		r.comeBack(t, &p)
	} else if expected == redirect {
		if r.answered[p.Source]++; r.answered[p.Source] > rejectBurst {
			expected = answer // the sender's budget is used up, or not
		}
	}
	if answer != expected {
		return fmt.Sprintf("the kernel answers %d, the reference %+v (%d); %v", int32(answer), result, int32(expected), outcome)
	}
	return r.compareCopies(t, &p)
}

// answers is what the program is to return for a result of the reference.
func (w *twins) answers(s *step, p *packet.Packet, result flow.Result) uint32 {
	switch {
	case result.Held:
		return redirect
	case !result.Drop, result.Answer == flow.ResetBoth: // the packet goes on, as an RST
		return pass
	case result.Answer == flow.NoAnswer, isGroupMAC(s.frame):
		return drop
	case p.Protocol != packet.TCP && p.Network != 14 && !w.bare:
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

// forgetTime has the programs read the clock at the next packet, also where they
// would take the time of another one of the same tick.
func (d *Datapath) forgetTime(t testing.TB) {
	t.Helper()
	m := d.objects.Workspaces
	none := make([][]byte, ebpf.MustPossibleCPU())
	for i := range none {
		none[i] = make([]byte, m.ValueSize())
	}
	if err := m.Put(uint32(0), none); err != nil {
		t.Fatal(err)
	}
}

// forget empties the flow table, the datagrams and the budgets of answers.
func forget(t testing.TB, d *Datapath) {
	t.Helper()
	o := &d.objects
	for _, m := range []*ebpf.Map{o.Flows, o.RejectBudgets, o.Fragments, o.Candidates, o.Looks} {
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
