package datapath

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/flow"
)

// totals are counters that run on: of causes, verdicts and traffic, by the kernel's
// indexes.
type totals struct {
	causes   [bpf.ConnectionsCounterCOUNT_MAX]uint64
	verdicts [verdicts * actions * reasons * transports * directions]uint64
	traffic  [verdicts * transports * directions * 2]flow.Counts
	matches  []uint64 // of the tables in force; nil where they changed
}

func (n *totals) forgetMatches() { n.matches = nil }

// read takes the kernel's counters.
func (w *twins) read(t testing.TB) *totals {
	t.Helper()
	o := &w.datapath.objects
	n := &totals{}
	for i, v := range readAll[uint64](t, o.Counters, len(n.causes)) {
		n.causes[i] = sum(v)
	}
	for i, v := range readAll[uint64](t, o.VerdictTotals, len(n.verdicts)) {
		n.verdicts[i] = sum(v)
	}
	for i, v := range readAll[bpf.ConnectionsTraffic](t, o.TrafficTotals, len(n.traffic)) {
		for _, c := range v {
			n.traffic[i].Packets += c.Packets
			n.traffic[i].Bytes += c.Bytes
		}
	}
	if w.datapath.tables != 0 {
		var err error
		if n.matches, err = w.datapath.Matches(w.datapath.tables); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// readAll reads a per-processor array.
func readAll[V any](t testing.TB, m *ebpf.Map, size int) [][]V {
	t.Helper()
	processors := ebpf.MustPossibleCPU()
	keys, flat := make([]uint32, size), make([]V, size*processors)
	var cursor ebpf.MapBatchCursor
	n, err := m.BatchLookup(&cursor, keys, flat, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) || n != size {
		t.Fatalf("read %v: %d of %d: %v", m, n, size, err)
	}
	values := make([][]V, size)
	for i, key := range keys {
		values[key] = flat[i*processors : (i+1)*processors]
	}
	return values
}

// of fills in what the reference counted.
func (n *totals) of(twin *flow.Tracker) {
	for _, v := range twin.Verdicts() {
		kind := (int(v.Verdict)*actions+int(v.Action))*reasons + int(v.Reason)
		n.verdicts[(kind*transports+transportIndex(v.Protocol))*directions+int(v.Direction)] += v.Count
	}
	for _, c := range twin.Traffic() {
		end := 1
		if c.FromSource {
			end = 0
		}
		n.traffic[((int(c.Verdict)*transports+transportIndex(c.Protocol))*directions+int(c.Direction))*2+end] = c.Counts
	}
	twin.Counters(func(c flow.Counter, count uint64) {
		for i, name := range counterNames {
			if name == c.String() {
				n.causes[i] = count
			}
		}
	})
}

func transportIndex(protocol uint8) int {
	for i, p := range transportProtocols {
		if i > 0 && p == protocol {
			return i
		}
	}
	return 0
}

// compareTotals says how what was counted since before differs from what is wanted.
func (w *twins) compareTotals(t testing.TB, before, want *totals, twin *flow.Tracker) string {
	t.Helper()
	after := w.read(t)
	for i := range want.causes {
		cause := bpf.ConnectionsCounter(i)
		got := after.causes[i] - before.causes[i]
		switch cause {
		case bpf.ConnectionsCounterCOUNT_REJECTED, bpf.ConnectionsCounterCOUNT_REJECT_FAILED,
			bpf.ConnectionsCounterCOUNT_REJECT_LIMITED:
			continue // answers are compared one by one; a reset of both ends may not reach one
		case bpf.ConnectionsCounterCOUNT_COPY_WITHHELD:
			continue // the reference knows no credit
		case bpf.ConnectionsCounterCOUNT_XDP_DROPPED:
			continue // nor that the packet came no further
		}
		if got != want.causes[i] {
			return fmt.Sprintf("the kernel counts %s %d, the reference %d", counterNames[cause], got, want.causes[i])
		}
	}
	for i := range want.verdicts {
		if got := after.verdicts[i] - before.verdicts[i]; got != want.verdicts[i] {
			return fmt.Sprintf("verdicts of kind %d: the kernel counts %d, the reference %d", i, got, want.verdicts[i])
		}
	}
	for i := range want.traffic {
		got := flow.Counts{
			Packets: after.traffic[i].Packets - before.traffic[i].Packets, Bytes: after.traffic[i].Bytes - before.traffic[i].Bytes,
		}
		if got != want.traffic[i] {
			return fmt.Sprintf("traffic of kind %d: the kernel counts %v, the reference %v", i, got, want.traffic[i])
		}
	}
	for i, n := range twin.Matches() {
		var got uint64
		if before.matches == nil {
			break // the counters began anew
		}
		if i < len(after.matches) { // a policy without rules of its own has no tables
			got = after.matches[i] - before.matches[i]
		}
		if got != n {
			return fmt.Sprintf("rule %d: the kernel counts %d matches, the reference %d", i, got, n)
		}
	}
	w.known = after
	return ""
}
