package engine

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

// expectedFlow is a record of another tool. What it does not say is -1 or zero.
type expectedFlow struct {
	file, what                  string
	source, destination         netip.Addr
	sourcePort, destinationPort int
	protocol                    int
	packets, bytes              [2]int64
	first, last                 time.Time
	within                      time.Duration // precision of the times
	age                         int64         // seconds from one to the other
	state                       string        // closed, or another
	partial                     bool          // several may be of one connection
}

// isOf says whether the record's ends are those of t, and whether the other way
// round.
func (e *expectedFlow) isOf(p party) (same, reversed bool) {
	matches := func(p party) bool {
		return p.from.Addr() == e.source && p.to.Addr() == e.destination &&
			(e.protocol < 0 || int(p.protocol) == e.protocol) &&
			(e.sourcePort < 0 || p.from.Port() == 0 || int(p.from.Port()) == e.sourcePort) &&
			(e.destinationPort < 0 || p.to.Port() == 0 || int(p.to.Port()) == e.destinationPort)
	}
	return matches(p), matches(p.other())
}

func (f *seenFlow) party() party {
	t := &f.tuple
	return partyOf(t.Source, t.Destination, int(t.SourcePort), int(t.DestinationPort), int(t.Protocol))
}

// find returns the connection of the same ends that begins nearest.
func (r *recorded) find(e *expectedFlow) (best *seenFlow) {
	for i := range r.flows {
		f := &r.flows[i]
		if same, _ := e.isOf(f.party()); same && (e.partial || !f.taken) &&
			(best == nil || f.first.Sub(e.first).Abs() < best.first.Sub(e.first).Abs()) {
			best = f
		}
	}
	return best
}

// between are all packets that went from the one end of e to the other, and back.
func (r *recorded) between(e *expectedFlow) (sent [2]flow.Counts) {
	for p, n := range r.sent {
		same, reversed := e.isOf(p)
		for i, is := range []bool{same, reversed} {
			if is {
				sent[i].Packets += n.Packets
				sent[i].Bytes += n.Bytes
			}
		}
	}
	return sent
}

func (e *expectedFlow) differences(f *seenFlow) (all []string) {
	for i, end := range []string{"source", "destination"} {
		sent := f.sent[i]
		if e.packets[i] >= 0 && uint64(e.packets[i]) != sent.Packets {
			all = append(all, fmt.Sprintf("packets of %s %d, not %d", end, sent.Packets, e.packets[i]))
		}
		if e.bytes[i] >= 0 && uint64(e.bytes[i]) != sent.Bytes {
			all = append(all, fmt.Sprintf("bytes of %s %d, not %d", end, sent.Bytes, e.bytes[i]))
		}
	}
	if !e.first.IsZero() && f.first.Sub(e.first).Abs() > e.within {
		all = append(all, fmt.Sprintf("start %v, not %v", f.first, e.first))
	}
	if !e.last.IsZero() && f.last.Sub(e.last).Abs() > e.within {
		all = append(all, fmt.Sprintf("end %v, not %v", f.last, e.last))
	}
	if age := f.last.Unix() - f.first.Unix(); e.age >= 0 && age != e.age {
		all = append(all, fmt.Sprintf("age %d, not %d", age, e.age))
	}
	closed := f.end == flow.EndFIN || f.end == flow.EndRST
	if e.state != "" && f.tuple.Protocol == packet.TCP && closed != (e.state == "closed") {
		all = append(all, fmt.Sprintf("end reason %d, state %s", f.end, e.state))
	}
	return all
}
