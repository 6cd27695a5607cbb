package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// NoRule is Event.Rule where no rule decided.
const NoRule = ^uint32(0)

// Event is what the kernel tells of a connection. The numbers of Kind, Verdict,
// Action, Reason and End are those of bpf/flow.h.
type Event struct {
	Kind                    uint8
	Time, First, Last       time.Time
	ID                      uint64
	Tuple                   packet.Tuple
	Direction               packet.Direction
	Interface               string
	Packets, Bytes          [2]uint64 // sent by source, destination
	Tables                  uint32    // number that Swap returned
	Rule, ShadowRule        uint32    // index into classifier.Tables.Rules
	Verdict, Action, Reason uint8
	ShadowAction, End       uint8
	Prevent                 bool
	Application             uint8 // what Settle said; 0: nothing
	// Looked: copies of its packets come, or are still to come (ReadCopies).
	Looked bool
	// Count is the number of connections that it stands for; beyond 1 the tuple
	// holds what they have in common (Floods).
	Count uint64
	// IPv6 is the address family where the tuple has no address.
	IPv6 bool
}

// How long events wait in the ring buffer at most, and how many make a batch.
const (
	readInterval = 50 * time.Millisecond
	batchSize    = 1024
)

// Read hands over events in batches until StopReading, and then the rest. The
// slice is valid during the call only.
func (d *Datapath) Read(handle func([]Event)) error {
	d.readTo.Store(0)
	defer d.readTo.Store(math.MaxInt64)
	var record ringbuf.Record
	batch := make([]Event, 0, batchSize)
	clock := newClock()
	flush := func() {
		if len(batch) > 0 {
			handle(batch)
			batch = batch[:0]
		}
	}
	for {
		began := time.Now()
		d.events.SetDeadline(began.Add(readInterval))
		err := d.events.ReadInto(&record)
		for err == nil {
			e, ok := d.decode(record.RawSample, clock)
			if ok {
				batch = append(batch, e)
			}
			if len(batch) == batchSize {
				flush()
			}
			err = d.events.ReadInto(&record)
		}
		flush()
		if errors.Is(err, ringbuf.ErrFlushed) || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("read events: %w", err)
		}
		d.readTo.Store(began.UnixNano()) // the deadline is looked at when the buffer is empty
		clock.adjust()
	}
}

// ReadTo is a time up to which Read has handed over all that happened; far ahead where nobody
// calls it any more.
func (d *Datapath) ReadTo() time.Time { return time.Unix(0, d.readTo.Load()).Add(-eventDelay) }

// eventDelay is how long after its time, which is the packet's, an event is written at most.
const eventDelay = 10 * time.Millisecond

// StopReading lets Read hand over what is there and return.
func (d *Datapath) StopReading() error { return d.events.Flush() }

// decode reads one event; ok is false for what an older program with another
// layout left in a pinned ring buffer.
func (d *Datapath) decode(raw []byte, c *clock) (e Event, ok bool) {
	if len(raw) != int(unsafe.Sizeof(bpf.ConnectionsEvent{})) {
		return e, false
	}
	k := (*bpf.ConnectionsEvent)(unsafe.Pointer(&raw[0])) // ring buffer samples are 8-byte aligned
	e = Event{
		Kind:      k.Kind,
		Time:      c.wall(k.Time),
		First:     c.wall(k.First),
		Last:      c.wall(k.Last),
		ID:        k.Id,
		Tuple:     tupleOf(k),
		Direction: packet.Direction(k.Direction),
		Interface: d.names.get(k.Ifindex),
		Packets:   k.Packets, Bytes: k.Bytes,
		Tables: k.Tables, Rule: k.Rule, ShadowRule: k.ShadowRule,
		Verdict: k.Verdict, Action: k.Action, Reason: k.Reason,
		ShadowAction: k.ShadowAction, End: k.End,
		Count:       1,
		Prevent:     k.Flags&uint16(bpf.ConnectionsFlowFlagsFLOW_PREVENT) != 0,
		Application: k.Application, Looked: k.Looked != 0,
	}
	return e, true
}

func tupleOf(k *bpf.ConnectionsEvent) packet.Tuple {
	t := packet.Tuple{
		Source:      addressOf(k.Source),
		Destination: addressOf(k.Destination),
		Protocol:    k.Protocol,
		Zone:        packet.Zone{Outer: uint16(k.Zone & vlanID), Inner: uint16(k.Zone >> 12)},
	}
	first, second := networkOrder(k.SourcePort), networkOrder(k.DestinationPort)
	switch {
	case t.HasPorts():
		t.SourcePort, t.DestinationPort = first, second
	case t.IsICMP():
		t.ICMPID = first
		t.ICMPType, t.ICMPCode = uint8(second>>8), uint8(second)
	}
	return t
}

// tupleOfKey is that of an entry with this key.
func tupleOfKey(k *bpf.ConnectionsFlowKey, sourceIsHigh bool) packet.Tuple {
	e := bpf.ConnectionsEvent{
		Source: k.Low, Destination: k.High, SourcePort: k.LowPort, DestinationPort: k.HighPort,
		Protocol: uint8(k.ProtocolZone), Zone: k.ProtocolZone >> 8,
	}
	if sourceIsHigh {
		e.Source, e.Destination = k.High, k.Low
		if e.Protocol == packet.TCP || e.Protocol == packet.UDP {
			e.SourcePort, e.DestinationPort = k.HighPort, k.LowPort
		}
	}
	return tupleOf(&e)
}

func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

func addressOf(words [4]uint32) netip.Addr {
	var b [16]byte
	for i, w := range words {
		binary.NativeEndian.PutUint32(b[i*4:], w)
	}
	return netip.AddrFrom16(b).Unmap()
}
