package datapath

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

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

// ReadHeld hands over packets of connections that are held until StopReadingHeld: those of
// a connection one after the other, in the order in which they were taken out. Each queue
// (HoldConfig) takes a thread of its own, which calls the handler while others do. A
// handler that takes more than a second counts as an agent that is down. The slice and
// what is in it are valid during the call only.
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
	errs := make([]error, len(h.taps))
	var reading sync.WaitGroup
	for queue := range h.taps {
		reading.Go(func() {
			if errs[queue] = d.readQueue(h, queue, handle); errs[queue] != nil {
				errs[queue] = errors.Join(errs[queue], d.StopReadingHeld()) // half of them is none
			}
		})
	}
	reading.Wait()
	err := errors.Join(errs...)
	for queue := range h.taps {
		// Whoever reads next has a second for it, in which packets wait in the device.
		err = errors.Join(err, d.beat(h, queue, err == nil))
	}
	return err
}

func (d *Datapath) readQueue(h *hold, queue int, handle func([]Held)) error {
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	if err := preferThread(); err != nil {
		d.log.Debug("A thread that reads packets which wait is scheduled as any other.", zap.Error(err))
	}
	return newHeldReader(d, h, queue).read(handle)
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
	return d.hold.wake()
}

func (d *Datapath) stopsReading(h *hold) bool {
	d.holding.RLock()
	defer d.holding.RUnlock()
	return h.stop || d.hold != h
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
