package engine

import (
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

// seenFlow is a connection as it came out of a replay.
type seenFlow struct {
	tuple       packet.Tuple
	first, last time.Time
	sent        [2]flow.Counts // bytes of whole frames, as both tools count
	end         flow.End
	taken       bool
}

// party is one end of the packets between two ends, whatever connections they make.
// Only TCP and UDP have ports.
type party struct {
	from, to netip.AddrPort
	protocol uint8
}

// recorded is what a capture holds, and what became of it.
type recorded struct {
	flows    []seenFlow
	sent     map[party]flow.Counts
	counters map[string]uint64
	outcomes map[packet.Outcome]int
}

func partyOf(source, destination netip.Addr, sourcePort, destinationPort int, protocol int) party {
	if protocol != int(packet.TCP) && protocol != int(packet.UDP) {
		sourcePort, destinationPort = 0, 0
	}
	return party{netip.AddrPortFrom(source, uint16(sourcePort)), netip.AddrPortFrom(destination, uint16(destinationPort)), uint8(protocol)}
}

func (p party) other() party { return party{p.to, p.from, p.protocol} }

// record replays a capture, where packets have the length of their frames.
func record(t *testing.T, path string, limits flow.Timeouts) *recorded {
	t.Helper()
	r, err := capture.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rec := &recorded{sent: map[party]flow.Counts{}, counters: map[string]uint64{}, outcomes: map[packet.Outcome]int{}}
	tracker, pieces := flow.New(flow.Config{MaxEntries: 1 << 20}), packet.NewFragments(rememberedFragments)
	var p packet.Packet
	var events []flow.Event
	var now, swept int64
	for {
		f, err := r.Next()
		if err != nil {
			var cut *capture.CutError
			if err != io.EOF && !errors.As(err, &cut) {
				t.Errorf("%s: %v", path, err)
			}
			break
		}
		now = max(now, f.Time.UnixNano())
		if now-swept >= 1e9 {
			_, events = tracker.Sweep(now, &limits, 0, events)
			swept = now
		}
		outcome := pieces.Follow(&p, p.Decode(&f.Frame), 0, f.Time)
		rec.outcomes[outcome]++
		p.Bytes, p.Packets = f.WireLength, 1
		if p.IPVersion != 0 {
			from := partyOf(p.Source, p.Destination, int(p.SourcePort), int(p.DestinationPort), int(p.Protocol))
			sum := rec.sent[from]
			sum.Packets++
			sum.Bytes += uint64(p.Bytes)
			rec.sent[from] = sum
		}
		_, events = tracker.Process(&p, outcome, &flow.Hook{Interface: 1}, now, events)
	}
	for _, e := range tracker.Flush(events) {
		if e.Kind == flow.EventEnd {
			rec.flows = append(rec.flows, seenFlow{
				tuple: e.Tuple, first: time.Unix(0, e.First).UTC(), last: time.Unix(0, e.Last).UTC(), sent: e.Sent, end: e.End,
			})
		}
	}
	tracker.Counters(func(c flow.Counter, n uint64) {
		if n > 0 {
			rec.counters[c.String()] = n
		}
	})
	return rec
}
