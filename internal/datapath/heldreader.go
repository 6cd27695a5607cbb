package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// heldReader reads a queue of packets that are held.
type heldReader struct {
	d       *Datapath
	hold    *hold
	queue   int
	clock   *clock
	buffers [heldBatch][]byte
	batch   []Held
	decoded packet.Packet
	flows   map[uint64]*heldFlow
	zones   map[uint32]heldZone
	beaten  time.Time
}

// heldFlow is what is known of a connection.
type heldFlow struct {
	key  FlowKey
	flow bpf.ConnectionsFlow
	read time.Time
}

type heldZone struct {
	flags uint32
	read  time.Time
}

func newHeldReader(d *Datapath, h *hold, queue int) *heldReader {
	r := &heldReader{d: d, hold: h, queue: queue, clock: newClock(), flows: map[uint64]*heldFlow{}, zones: map[uint32]heldZone{}}
	for i := range r.buffers {
		r.buffers[i] = make([]byte, heldBytes)
	}
	r.batch = make([]Held, 0, heldBatch)
	return r
}

// readKept hands over what KeepHeld has kept for the queue.
func (r *heldReader) readKept(handle func([]Held)) {
	r.d.holding.Lock()
	var kept [][]byte
	r.hold.kept = slices.DeleteFunc(r.hold.kept, func(data []byte) bool {
		if QueueOf(handleID(data), len(r.hold.taps)) != r.queue {
			return false
		}
		kept = append(kept, data)
		return true
	})
	r.d.holding.Unlock()
	for len(kept) > 0 {
		n := min(len(kept), heldBatch)
		r.batch = r.batch[:0]
		for _, data := range kept[:n] {
			r.take(data, time.Now())
		}
		handle(r.batch)
		kept = kept[n:]
	}
}

func (r *heldReader) read(handle func([]Held)) error {
	r.readKept(handle)
	tap := r.hold.taps[r.queue]
	for !r.d.stopsReading(r.hold) {
		now := time.Now()
		if now.Sub(r.beaten) >= heartbeat {
			if err := r.d.beat(r.hold, r.queue, true); err != nil {
				return err
			}
			r.beaten = now
			r.clock.adjust()
		}
		r.batch = r.batch[:0]
		for i := range r.buffers {
			n, err := unix.Read(tap.fd, r.buffers[i])
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
				break
			}
			if err != nil {
				return fmt.Errorf("read a packet of %s: %w", tap.name, err)
			}
			r.take(r.buffers[i][:n], now)
		}
		if len(r.batch) > 0 {
			handle(r.batch)
			continue
		}
		if err := tap.wait(int(heartbeat / time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

// The handle that a packet has in place of MAC addresses (struct hold_handle).
func handleID(data []byte) uint64    { return binary.LittleEndian.Uint64(data[vnetHeader:]) }
func handleWhere(data []byte) uint32 { return binary.LittleEndian.Uint32(data[vnetHeader+8:]) }

// take adds a packet to the batch.
func (r *heldReader) take(data []byte, now time.Time) {
	if len(data) < vnetHeader+14 {
		r.d.unread.unknown.Add(1)
		return
	}
	where := handleWhere(data)
	frame := packet.Frame{
		Data: data[vnetHeader:], Link: packet.LinkEthernet, GSOSize: int(binary.NativeEndian.Uint16(data[4:])),
		Zone: r.zone(where>>8, now),
	}
	p := &r.decoded
	if p.Decode(&frame) != packet.Decoded {
		r.d.unread.unknown.Add(1)
		return
	}
	const needsChecksum, isValid = 1, 2 // VIRTIO_NET_HDR_F_…
	if data[0]&(needsChecksum|isValid) == 0 && p.TransportChecksum(frame.Data) == packet.Wrong {
		r.d.unread.checksum.Add(1)
		return
	}
	f := r.flow(handleID(data), p, now)
	if f == nil {
		r.d.unread.unknown.Add(1)
		return
	}
	held := Held{
		Copy: r.copy(f, p), Segment: 0,
		Unread: bpf.ConnectionsFlowFlags(f.flow.Flags)&bpf.ConnectionsFlowFlagsFLOW_UNREAD != 0,
		packet: HeldPacket{
			data: data, network: p.Network, tuple: p.Tuple, seq: p.Seq, ack: p.Ack, flags: p.TCPFlags,
			protocol: p.Protocol, ipVersion: p.IPVersion,
		},
	}
	held.packet.after = p.Seq + uint32(p.PayloadLength)
	for _, flag := range []uint8{packet.SYN, packet.FIN} {
		if p.TCPFlags&flag != 0 {
			held.packet.after++
		}
	}
	if where&uint32(bpf.HoldHandleFlagsHANDLE_DESTINATION) != 0 {
		held.End = 1
	}
	if p.Protocol == packet.UDP && p.Packets > 1 {
		held.Segment = frame.GSOSize
	}
	held.Payload = p.CapturedPayload(frame.Data)
	held.packet.transport = vnetHeader + p.Transport
	held.packet.payload, held.packet.bytes = vnetHeader+p.Payload, len(held.Payload)
	held.Time = now
	if p.Protocol == packet.TCP && p.TCPFlags&packet.ACK != 0 && !(held.HasAcked[held.End] && int32(p.Ack-held.Acked[held.End]) < 0) {
		held.Acked[held.End], held.HasAcked[held.End] = p.Ack, true
	}
	r.batch = append(r.batch, held)
}

// copy is what is known of the connection.
func (r *heldReader) copy(f *heldFlow, p *packet.Packet) Copy {
	k := &f.flow
	c := Copy{
		Key: f.key, ID: k.Id,
		Tuple:     tupleOfKey(&f.key.key, bpf.ConnectionsFlowFlags(k.Flags)&bpf.ConnectionsFlowFlagsFLOW_SOURCE_IS_HIGH != 0),
		Direction: packet.Direction(k.Direction), Interface: r.d.names.get(k.Ifindex), First: r.clock.wall(k.First),
		Tables: k.Tables, Rule: k.Rule, Verdict: k.Verdict, Action: k.Action, Reason: k.Reason,
		Prevent:  bpf.ConnectionsFlowFlags(k.Flags)&bpf.ConnectionsFlowFlagsFLOW_PREVENT != 0,
		Loopback: bpf.ConnectionsFlowFlags(k.Flags)&bpf.ConnectionsFlowFlagsFLOW_LOOPBACK != 0,
		Ended:    bpf.ConnectionsFlowFlags(k.Flags)&bpf.ConnectionsFlowFlagsFLOW_END_TOLD != 0,
		Seq:      p.Seq, Ack: p.Ack, Flags: p.TCPFlags, Initial: k.Initial, Acked: k.Acked,
	}
	for end := range 2 {
		c.HasInitial[end] = k.Tcp&(uint32(bpf.ConnectionsFlowTcpTCP_SYN)<<end) != 0
		c.HasAcked[end] = k.Tcp&(uint32(bpf.ConnectionsFlowTcpTCP_ACKS)<<end) != 0
	}
	return c
}

// flow finds the connection of a packet; nil where it is no more.
func (r *heldReader) flow(id uint64, p *packet.Packet, now time.Time) *heldFlow {
	f := r.flows[id]
	if f != nil && now.Sub(f.read) < heldKnown && p.TCPFlags&packet.SYN == 0 {
		return f
	}
	key, _ := flowKey(p.Tuple)
	fresh := &heldFlow{key: FlowKey{key}, read: now}
	err := r.d.objects.Flows.Lookup(key, &fresh.flow)
	if err != nil || fresh.flow.Id != id {
		delete(r.flows, id)
		return nil
	}
	if p.TCPFlags&packet.SYN != 0 {
		delete(r.flows, id) // the numbers are not agreed on yet
		return fresh
	}
	if f == nil && len(r.flows) >= heldConnections {
		for old := range r.flows { // any: what is needed again is read again
			delete(r.flows, old)
			break
		}
	}
	r.flows[id] = fresh
	return fresh
}

// zone is that of an interface.
func (r *heldReader) zone(index uint32, now time.Time) packet.Zone {
	z, ok := r.zones[index]
	if !ok || now.Sub(z.read) > time.Second {
		z = heldZone{read: now}
		m := r.d.objects.LowInterfaces
		if index >= m.MaxEntries() {
			m = r.d.objects.HighInterfaces
		}
		if err := m.Lookup(index, &z.flags); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return packet.Zone{}
		}
		if len(r.zones) > heldBatch*heldBatch {
			clear(r.zones)
		}
		r.zones[index] = z
	}
	zone := z.flags & uint32(bpf.ConnectionsInterfaceFlagsINTERFACE_ZONE)
	return packet.Zone{Outer: uint16(zone & vlanID), Inner: uint16(zone >> 12)}
}
