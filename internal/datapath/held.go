package datapath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// Held is a packet that waits for a word: Release, Drop or Reset. Without one it
// goes nowhere, and its sender may send it again.
//
// The fields of Copy mean what they mean there, but that Lost, Missing and Credit
// are 0 and Fragment false. Ended: the packet has waited so long that EventEnd was
// sent before it was read.
// Initial and Acked, and what is known of the verdict, may be as old as a tenth of
// a second; what the packet itself acknowledges is in them.
type Held struct {
	Copy
	// Unread: the source has said something that nobody read, and on_error.agent_down let
	// pass.
	Unread bool
	// Segment is not 0 where Payload is several datagrams: each but the last has as
	// many bytes. They are released, or not, together.
	Segment int
	packet  HeldPacket
}

// HeldPacket is the packet itself.
type HeldPacket struct {
	data      []byte // virtio header and frame
	network   int    // where the IP header begins, in the frame
	transport int    // where the transport header is, in data
	payload   int    // where its payload is, in data
	bytes     int
	tuple     packet.Tuple
	seq, ack  uint32
	flags     uint8
	after     uint32 // the number after what it carries
	protocol  uint8
	ipVersion uint8
}

// Packet is the packet, during the call that it is handed to.
func (h *Held) Packet() *HeldPacket { return &h.packet }

// Take keeps the packet beyond the call. Payload is as short-lived as before.
func (h *Held) Take() *HeldPacket {
	p := h.packet
	p.data = bytes.Clone(p.data)
	return &p
}

// Size is how many bytes it takes.
func (p *HeldPacket) Size() int { return len(p.data) }

// Payload is what it carries.
func (p *HeldPacket) Payload() []byte { return p.data[p.payload:][:p.bytes] }

// Flags are those of TCP.
func (p *HeldPacket) Flags() uint8 { return p.flags }

// heldCounts are packets that came by the device and were not handed on.
type heldCounts struct {
	unknown  atomic.Uint64 // not of a connection that is held
	checksum atomic.Uint64 // with a checksum that is wrong: its receiver would drop it
	full     atomic.Uint64 // of devices that are gone: the queue was full
}

const (
	// The largest packet: BIG TCP's are cut before.
	heldBytes = vnetHeader + 18 + 8 + 65535 + 128
	heldBatch = 16
	// How long what is known of a connection is taken for new.
	heldKnown = 100 * time.Millisecond
	// Of so many connections at most something is remembered.
	heldConnections = 1 << 16
)

// ReadHeld hands over packets of connections that are held, in the order in which
// they were taken out, until StopReadingHeld. It takes a thread of its own. A
// handler that takes more than a second counts as an agent that is down. The slice
// and what is in it are valid during the call only.
func (d *Datapath) ReadHeld(handle func([]Held)) error {
	d.holding.Lock()
	h := d.hold
	if h != nil {
		h.stop = false
		h.reads.Add(1)
	}
	d.holding.Unlock()
	if h == nil {
		return errors.New("read packets that are held: SetHold was not called")
	}
	defer h.reads.Done()
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	if err := preferThread(); err != nil {
		d.log.Debug("The thread that reads packets which wait is scheduled as any other.", zap.Error(err))
	}
	r := newHeldReader(d, h)
	err := r.read(handle)
	// Whoever reads next has a second for it, in which packets wait in the device.
	return errors.Join(err, d.beat(err == nil))
}

// StopReadingHeld lets ReadHeld return. What waits in the device stays there, and what
// comes within a second waits with it.
func (d *Datapath) StopReadingHeld() error {
	d.holding.Lock()
	defer d.holding.Unlock()
	if d.hold == nil {
		return nil
	}
	d.hold.stop = true
	return d.hold.tap.look()
}

func (d *Datapath) stopsReading(h *hold) bool {
	d.holding.Lock()
	defer d.holding.Unlock()
	return h.stop || d.hold != h
}

type heldReader struct {
	d       *Datapath
	hold    *hold
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

func newHeldReader(d *Datapath, h *hold) *heldReader {
	r := &heldReader{d: d, hold: h, clock: newClock(), flows: map[uint64]*heldFlow{}, zones: map[uint32]heldZone{}}
	for i := range r.buffers {
		r.buffers[i] = make([]byte, heldBytes)
	}
	r.batch = make([]Held, 0, heldBatch)
	return r
}

// KeepHeld keeps packets for whoever calls ReadHeld next, in place of a word: it is handed
// them before all others, in this order.
func (d *Datapath) KeepHeld(packets []*HeldPacket) {
	d.holding.Lock()
	defer d.holding.Unlock()
	if d.hold == nil {
		return // the device is gone, and nothing can be sent on
	}
	for _, p := range packets {
		d.hold.kept = append(d.hold.kept, p.data)
	}
}

// readKept hands over what KeepHeld has kept.
func (r *heldReader) readKept(handle func([]Held)) {
	r.d.holding.Lock()
	kept := r.hold.kept
	r.hold.kept = nil
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
	for !r.d.stopsReading(r.hold) {
		now := time.Now()
		if now.Sub(r.beaten) >= heartbeat {
			if err := r.d.beat(true); err != nil {
				return err
			}
			r.beaten = now
			r.clock.adjust()
		}
		r.batch = r.batch[:0]
		for i := range r.buffers {
			n, err := unix.Read(r.hold.tap.fd, r.buffers[i])
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
				break
			}
			if err != nil {
				return fmt.Errorf("read a packet of %s: %w", tapName, err)
			}
			r.take(r.buffers[i][:n], now)
		}
		if len(r.batch) > 0 {
			handle(r.batch)
			continue
		}
		if err := r.hold.tap.wait(int(heartbeat / time.Millisecond)); err != nil {
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
