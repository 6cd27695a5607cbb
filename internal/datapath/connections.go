package datapath

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// EventUpdate is Event.Kind of a connection that goes on.
const EventUpdate = 3

// liveBatch is how many entries are read at once.
const liveBatch = 4096

// Live hands over the connections of the flow table that are not over, in no order,
// until visit says false. What comes and goes meanwhile may be among them or not.
// The event is valid during the call only.
func (d *Datapath) Live(visit func(*Event) bool) error {
	keys := make([]bpf.ConnectionsFlowKey, liveBatch)
	flows := make([]bpf.ConnectionsFlow, liveBatch)
	clock := newClock()
	now := time.Now()
	var cursor ebpf.MapBatchCursor
	for {
		n, err := d.objects.Flows.BatchLookup(&cursor, keys, flows, nil)
		end := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !end {
			return fmt.Errorf("read the flow table: %w", err)
		}
		for i := range n {
			const not = uint32(bpf.ConnectionsFlowFlagsFLOW_CLOSED | bpf.ConnectionsFlowFlagsFLOW_FOLLOWER)
			if flows[i].Flags&not != 0 {
				continue
			}
			if e := d.live(&keys[i], &flows[i], clock, now); !visit(&e) {
				return nil
			}
		}
		if end {
			return nil
		}
	}
}

func (d *Datapath) live(k *bpf.ConnectionsFlowKey, f *bpf.ConnectionsFlow, c *clock, now time.Time) Event {
	return Event{
		Kind: EventUpdate, Time: now, First: c.wall(f.First), Last: c.wall(f.Last), ID: f.Id,
		Tuple:     tupleOfKey(k, f.Flags&uint32(bpf.ConnectionsFlowFlagsFLOW_SOURCE_IS_HIGH) != 0),
		Direction: packet.Direction(f.Direction), Interface: d.names.get(f.Ifindex),
		Packets: f.Packets, Bytes: f.Bytes,
		Tables: f.Tables, Rule: f.Rule, ShadowRule: f.ShadowRule,
		Verdict: f.Verdict, Action: f.Action, Reason: f.Reason, ShadowAction: f.ShadowAction,
		Prevent:     f.Flags&uint32(bpf.ConnectionsFlowFlagsFLOW_PREVENT) != 0,
		Application: f.Application, Count: 1,
	}
}
