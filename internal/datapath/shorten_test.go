package datapath

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

// shorten takes steps, and then parts of the policies, out as long as there is a
// difference.
func (w *twins) shorten(t testing.TB, steps []step) []step {
	for i := 1; i < len(steps); {
		less := append(append([]step(nil), steps[:i]...), steps[i+1:]...)
		if w.try(t, less) != "" {
			steps, i = less, 1
			continue
		}
		i++
	}
	for n := range w.policies {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.kind == aSwap && s.policy == n }) {
			continue
		}
		for i := 0; i < w.policies[n].text.parts(); {
			kept := w.policies[n]
			less, err := inspect(kept.text.without(i))
			w.inForce = -1
			if err == nil {
				w.policies[n] = less
				if w.try(t, steps) != "" {
					continue
				}
			}
			w.policies[n], w.inForce = kept, -1
			i++
		}
	}
	return steps
}

func (w *twins) describe(steps []step) string {
	var b strings.Builder
	for i, s := range steps {
		fmt.Fprintf(&b, "%d: ", i)
		switch s.kind {
		case aSwap:
			fmt.Fprintf(&b, "policy %d\n%s", s.policy, w.policies[s.policy].text)
		case aPause:
			fmt.Fprintf(&b, "wait %v\n", paused)
		case aSweep:
			limits, update := sweepLimits(s.sweep)
			fmt.Fprintf(&b, "sweep %+v, updates %d\n", limits, update)
		case aSettlement:
			fmt.Fprintf(&b, "settle %s %+v\n", tupleText(&s.settle.tuple), s.settle)
		case aPacket:
			b.WriteString(map[bool]string{false: "in by ", true: "out by "}[s.at.egress] + deviceNames[s.at.at])
			if s.at.egress && s.at.from != nowhere {
				b.WriteString(" from " + deviceNames[s.at.from])
			}
			var p packet.Packet
			outcome := w.decode(&p, &s)
			fmt.Fprintf(&b, " gso %d: %v %s zone %v", s.gso, outcome, tupleText(&p.Tuple), p.Zone)
			if p.Protocol == packet.TCP {
				fmt.Fprintf(&b, " flags %#x seq %d ack %d", p.TCPFlags, p.Seq, p.Ack)
			}
			if p.IsFragment {
				fmt.Fprintf(&b, " fragment %d at %d of %d bytes", p.FragmentID, p.FragmentOffset, p.FragmentLength)
			}
			if p.HasQuote {
				fmt.Fprintf(&b, " quotes %s", tupleText(&p.Quoted))
			}
			fmt.Fprintf(&b, " payload %d\n   %x\n", p.PayloadLength, s.frame)
		}
	}
	fmt.Fprintf(&b, "looked into: %+v\n", w.look)
	if w.agent {
		b.WriteString("what this host sends is the agent's own\n")
	}
	return b.String()
}
