package datapath

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// Floods takes the connections that were counted together since the last call:
// those that open beyond a rate and are never answered. Each event stands for
// Count of them, has no source, and no destination where theirs differ.
func (d *Datapath) Floods() ([]Event, error) {
	d.sweep.Lock()
	defer d.sweep.Unlock()
	if empty, err := d.noFloods(); empty || err != nil {
		return nil, err
	}
	var epoch uint32
	if err := d.objects.FloodEpoch.Lookup(uint32(0), &epoch); err != nil {
		return nil, fmt.Errorf("read the epoch of floods: %w", err)
	}
	if err := d.objects.FloodEpoch.Put(uint32(0), epoch^1); err != nil {
		return nil, fmt.Errorf("begin the next epoch of floods: %w", err)
	}
	if err := waitForPackets(); err != nil {
		return nil, err
	}
	found := map[bpf.ConnectionsFloodKey]bpf.ConnectionsFlood{}
	for _, m := range []*ebpf.Map{d.objects.Floods, d.objects.MergedFloods} {
		var key bpf.ConnectionsFloodKey
		var flood bpf.ConnectionsFlood
		var done []bpf.ConnectionsFloodKey
		all := m.Iterate()
		for all.Next(&key, &flood) {
			if uint32(key.Epoch) == epoch&1 {
				found[key] = flood
				done = append(done, key)
			}
		}
		if err := all.Err(); err != nil {
			return nil, fmt.Errorf("read floods: %w", err)
		}
		for i := range done {
			if err := m.Delete(&done[i]); err != nil {
				return nil, fmt.Errorf("remove a flood: %w", err)
			}
		}
	}
	var events []Event
	clock := newClock()
	for key, flood := range mergeFloods(found) {
		events = append(events, d.floodEvent(&key, &flood, clock))
	}
	return events, nil
}

// few is what makes no flood: a scan meets each port or each host once.
const few = 8

// mergeFloods puts those of few connections together with others that differ in
// the port, and those that are still few with others that differ in the address.
func mergeFloods(floods map[bpf.ConnectionsFloodKey]bpf.ConnectionsFlood) map[bpf.ConnectionsFloodKey]bpf.ConnectionsFlood {
	for _, coarser := range []func(*bpf.ConnectionsFloodKey){
		func(k *bpf.ConnectionsFloodKey) { k.DestinationPort = 0 },
		func(k *bpf.ConnectionsFloodKey) { k.Destination, k.HasDestination = [4]uint32{}, 0 },
	} {
		merged := map[bpf.ConnectionsFloodKey]bpf.ConnectionsFlood{}
		for k, f := range floods {
			if f.Count < few {
				coarser(&k)
			}
			merged[k] = addFlood(merged[k], f)
		}
		floods = merged
	}
	return floods
}

func addFlood(a, b bpf.ConnectionsFlood) bpf.ConnectionsFlood {
	if a.Count == 0 {
		return b
	}
	a.Count += b.Count
	a.First, a.Last = min(a.First, b.First), max(a.Last, b.Last)
	for i := range a.Packets {
		a.Packets[i] += b.Packets[i]
		a.Bytes[i] += b.Bytes[i]
	}
	return a
}

func (d *Datapath) noFloods() (bool, error) {
	for _, m := range []*ebpf.Map{d.objects.Floods, d.objects.MergedFloods} {
		var first bpf.ConnectionsFloodKey
		err := m.NextKey(nil, &first)
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, ebpf.ErrKeyNotExist) {
			return false, fmt.Errorf("look for floods: %w", err)
		}
	}
	return true, nil
}

func (d *Datapath) floodEvent(k *bpf.ConnectionsFloodKey, f *bpf.ConnectionsFlood, c *clock) Event {
	first, last := c.wall(f.First), c.wall(f.Last)
	e := Event{
		Kind: k.Kind, Time: last, First: first, Last: last, ID: rand.Uint64(), Count: f.Count,
		Tuple:     packet.Tuple{Protocol: k.Protocol},
		IPv6:      k.IsIpv6 != 0,
		Direction: packet.Direction(k.Direction),
		Interface: d.names.get(k.Ifindex),
		Packets:   f.Packets, Bytes: f.Bytes,
		Tables: k.Tables, Rule: k.Rule, ShadowRule: k.ShadowRule,
		Verdict: k.Verdict, Action: k.Action, Reason: k.Reason,
		ShadowAction: k.ShadowAction, End: k.End, Prevent: k.Prevent != 0,
	}
	if k.HasDestination == 0 {
		return e
	}
	e.Tuple.Destination = addressOf(k.Destination)
	port := networkOrder(k.DestinationPort) // 0: theirs differ
	switch {
	case e.Tuple.HasPorts():
		e.Tuple.DestinationPort = port
	case e.Tuple.IsICMP():
		e.Tuple.ICMPType, e.Tuple.ICMPCode = uint8(port>>8), uint8(port)
	}
	return e
}
