package datapath

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// The sizes of the indexes of bpf/counters.h.
const (
	transports = 5
	directions = 4
	verdicts   = 4
	actions    = 3
	reasons    = 11
)

// transportProtocols are the IP protocols by enum transport; 0 is all others.
var transportProtocols = [transports]uint8{0, packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6}

// VerdictCount is the number of verdicts of one kind.
type VerdictCount struct {
	Verdict, Action, Reason uint8 // as in Event
	Protocol                uint8 // 0: other than TCP, UDP, ICMP, ICMPv6
	Direction               packet.Direction
	Count                   uint64
}

// TrafficCount is what one end of connections of one kind sent.
type TrafficCount struct {
	FromSource     bool
	Verdict        uint8
	Protocol       uint8
	Direction      packet.Direction
	Packets, Bytes uint64
}

// Verdicts reads the verdicts given so far; kinds that did not occur are left
// out.
func (d *Datapath) Verdicts() ([]VerdictCount, error) {
	var out []VerdictCount
	var perCPU []uint64
	for i := range uint32(verdicts * actions * reasons * transports * directions) {
		if err := d.objects.VerdictTotals.Lookup(i, &perCPU); err != nil {
			return nil, fmt.Errorf("read verdict counters: %w", err)
		}
		n := sum(perCPU)
		if n == 0 {
			continue
		}
		c := VerdictCount{Count: n}
		rest := i
		c.Direction, rest = packet.Direction(rest%directions), rest/directions
		c.Protocol, rest = transportProtocols[rest%transports], rest/transports
		c.Reason, rest = uint8(rest%reasons), rest/reasons
		c.Action, c.Verdict = uint8(rest%actions), uint8(rest/actions)
		out = append(out, c)
	}
	return out, nil
}

// Traffic reads the packets and bytes counted so far.
func (d *Datapath) Traffic() ([]TrafficCount, error) {
	var out []TrafficCount
	var perCPU []bpf.ConnectionsTraffic
	for i := range uint32(verdicts * transports * directions * 2) {
		if err := d.objects.TrafficTotals.Lookup(i, &perCPU); err != nil {
			return nil, fmt.Errorf("read traffic counters: %w", err)
		}
		var c TrafficCount
		for _, v := range perCPU {
			c.Packets += v.Packets
			c.Bytes += v.Bytes
		}
		if c.Packets == 0 {
			continue
		}
		rest := i
		c.FromSource, rest = rest%2 == 0, rest/2
		c.Direction, rest = packet.Direction(rest%directions), rest/directions
		c.Protocol, c.Verdict = transportProtocols[rest%transports], uint8(rest/transports)
		out = append(out, c)
	}
	return out, nil
}

// Counter is a cause that the kernel counts packets or events by.
type Counter struct {
	Name  string
	Count uint64
}

var counterNames = map[bpf.ConnectionsCounter]string{
	bpf.ConnectionsCounterCOUNT_EVENT_DELAYED:           "event_delayed",
	bpf.ConnectionsCounterCOUNT_FLOW_TABLE_FULL:         "flow_table_full",
	bpf.ConnectionsCounterCOUNT_MALFORMED:               "malformed_passed",
	bpf.ConnectionsCounterCOUNT_FRAGMENT_ORPHAN:         "fragment_passed",
	bpf.ConnectionsCounterCOUNT_NON_IP:                  "non_ip_passed",
	bpf.ConnectionsCounterCOUNT_MALFORMED_DROPPED:       "malformed_dropped",
	bpf.ConnectionsCounterCOUNT_FRAGMENT_DROPPED:        "fragment_dropped",
	bpf.ConnectionsCounterCOUNT_NON_IP_DROPPED:          "non_ip_dropped",
	bpf.ConnectionsCounterCOUNT_REJECTED:                "rejected",
	bpf.ConnectionsCounterCOUNT_REJECT_LIMITED:          "reject_limited",
	bpf.ConnectionsCounterCOUNT_REJECT_FAILED:           "reject_failed",
	bpf.ConnectionsCounterCOUNT_RELATED_ICMP:            "related_icmp",
	bpf.ConnectionsCounterCOUNT_LATE:                    "late",
	bpf.ConnectionsCounterCOUNT_TABLES_MISSING:          "tables_missing",
	bpf.ConnectionsCounterCOUNT_OTHER_HOST:              "other_host",
	bpf.ConnectionsCounterCOUNT_EVICTED:                 "evicted",
	bpf.ConnectionsCounterCOUNT_FLOOD_UNTOLD:            "flood_untold",
	bpf.ConnectionsCounterCOUNT_HANDOVER_DROPPED:        "handover_dropped",
	bpf.ConnectionsCounterCOUNT_COPY_LOST:               "copy_lost",
	bpf.ConnectionsCounterCOUNT_COPY_WITHHELD:           "copy_withheld",
	bpf.ConnectionsCounterCOUNT_COPY_CUT:                "copy_cut",
	bpf.ConnectionsCounterCOUNT_LOOKS_FULL:              "looks_full",
	bpf.ConnectionsCounterCOUNT_HELD:                    "held",
	bpf.ConnectionsCounterCOUNT_HELD_RETURNED:           "held_returned",
	bpf.ConnectionsCounterCOUNT_HELD_DROPPED:            "held_dropped",
	bpf.ConnectionsCounterCOUNT_HELD_STALE:              "held_stale",
	bpf.ConnectionsCounterCOUNT_HELD_BLOCKED:            "held_blocked",
	bpf.ConnectionsCounterCOUNT_HELD_UNKNOWN:            "held_unknown",
	bpf.ConnectionsCounterCOUNT_HOLD_FAILED:             "hold_failed",
	bpf.ConnectionsCounterCOUNT_AGENT_DOWN_PASSED:       "agent_down_passed",
	bpf.ConnectionsCounterCOUNT_AGENT_DOWN_DROPPED:      "agent_down_dropped",
	bpf.ConnectionsCounterCOUNT_HELD_FRAGMENT_PASSED:    "held_fragment_passed",
	bpf.ConnectionsCounterCOUNT_HELD_FRAGMENT_DROPPED:   "held_fragment_dropped",
	bpf.ConnectionsCounterCOUNT_SYN_DROPPED:             "syn_dropped",
	bpf.ConnectionsCounterCOUNT_UNHELD:                  "unheld",
	bpf.ConnectionsCounterCOUNT_HELD_UNANSWERED_PASSED:  "held_unanswered_passed",
	bpf.ConnectionsCounterCOUNT_HELD_UNANSWERED_DROPPED: "held_unanswered_dropped",
	bpf.ConnectionsCounterCOUNT_HELD_OVER_DROPPED:       "held_over_dropped",
	bpf.ConnectionsCounterCOUNT_HELD_COPIED:             "held_copied",
	bpf.ConnectionsCounterCOUNT_HELD_COPY_FAILED:        "held_copy_failed",
	bpf.ConnectionsCounterCOUNT_XDP_DROPPED:             "xdp_dropped",
}

// Counters reads the causes, all of them, in a fixed order. The last three are user
// space's own, and begin with the process.
func (d *Datapath) Counters() ([]Counter, error) {
	out := make([]Counter, 0, len(counterNames))
	var perCPU []uint64
	for i := range bpf.ConnectionsCounterCOUNT_MAX {
		if err := d.objects.Counters.Lookup(uint32(i), &perCPU); err != nil {
			return nil, fmt.Errorf("read counters: %w", err)
		}
		out = append(out, Counter{Name: counterNames[i], Count: sum(perCPU)})
	}
	full := d.unread.full.Load()
	d.holding.Lock()
	if d.hold != nil {
		full += d.hold.dropped()
	}
	d.holding.Unlock()
	return append(out, Counter{"held_queue_full", full}, Counter{"held_checksum", d.unread.checksum.Load()},
		Counter{"held_unread", d.unread.unknown.Load()}), nil
}

func sum(values []uint64) (n uint64) {
	for _, v := range values {
		n += v
	}
	return n
}

// running are the programs that are loaded.
func (d *Datapath) running() (list []*ebpf.Program) {
	d.attach.Lock()
	all := []*ebpf.Program{d.objects.Ingress, d.objects.Egress, d.objects.IngressL3, d.objects.EgressL3, d.xdp.program}
	d.attach.Unlock()
	d.looking.Lock()
	all = append(all, d.look)
	d.looking.Unlock()
	d.holding.Lock()
	if d.hold != nil {
		all = append(all, d.hold.programs.Hold, d.hold.programs.HoldEnter, d.hold.programs.HoldReturn)
	}
	d.holding.Unlock()
	for _, p := range all {
		if p != nil {
			list = append(list, p)
		}
	}
	return list
}

// RunTime is how long the programs have run so far. The kernel measures it only
// while statistics are on (kernel.bpf_stats_enabled); ok is false otherwise.
func (d *Datapath) RunTime() (total time.Duration, ok bool) {
	for _, p := range d.running() {
		s, err := p.Stats()
		if err != nil {
			return 0, false
		}
		total += s.Runtime
		ok = ok || s.RunCount > 0
	}
	return total, ok
}
