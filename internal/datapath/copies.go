package datapath

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// FlowKey names a connection's entry in the kernel, together with its id.
type FlowKey struct{ key bpf.ConnectionsFlowKey }

// Copy is a packet of a connection that is looked into, or a part of one, or says
// that the connection is over. Copies come in the order in which a processor saw
// the packets; those of the two ends may be on two processors.
//
// Of TCP, segments with payload are copied where it is wanted, FIN and RST always once
// there was one, SYN-ACK while the rules have not decided; a SYN and acknowledgments
// without payload are not: each copy has Initial and Acked.
type Copy struct {
	Key FlowKey
	ID  uint64 // as in Event
	// Ended: the connection is over, and nothing more is copied of it. The fields
	// from End on are not valid, but for Lost. Its EventEnd waits, for a second or
	// two, for a Settlement with Done. It comes without anything before it having
	// come where that was lost; and not at all after Done.
	Ended bool

	Tuple       packet.Tuple // source is the initiator's end
	Direction   packet.Direction
	Interface   string // of the first packet
	First, Time time.Time
	// Tables is the number of those that judged it last, with Rule, Verdict, Action
	// and Reason, as in Event.
	Tables, Rule            uint32
	Verdict, Action, Reason uint8
	Prevent, Loopback       bool
	// Held: the connection is one of those that ReadHeld has packets of. This one has passed
	// (Settlement.AnswersPass, Window.Renews).
	Held bool

	End int // the sender: 0 is the source, 1 the destination
	// TCP. Seq is the number of the SYN where Flags has one, else that of the first
	// byte of Payload.
	Seq, Ack uint32
	Flags    uint8
	// Initial are the numbers of each end's SYN, valid with HasInitial; Acked the
	// highest that each end has acknowledged so far, valid with HasAcked.
	Initial, Acked       [2]uint32
	HasInitial, HasAcked [2]bool

	// Payload is valid during the call that it is handed to.
	Payload []byte
	// Missing is how many bytes follow in the packet that are not copied: it lies in
	// a pass window, or is longer than what is copied of one. A FIN comes after them.
	Missing int
	// Fragment: it is the first fragment of an IP datagram. What is in the others is
	// not copied, and not counted in Missing.
	Fragment bool
	// Lost is how many packets of the connection, of either end, were not copied
	// since the last copy: the ring buffer was full, or Credit used up.
	Lost uint32
	// Credit is what may still be copied of this end, see Window.
	Credit int
}

const (
	// After copies have come the ring buffer is looked at again this much later:
	// while there is traffic nobody wakes the reader.
	copyInterval = time.Millisecond
	// So often in vain, and it sleeps until it is woken.
	idleLooks   = 20
	copyBatch   = 1024
	copyPayload = 1 << 20 // bytes of a batch
	// So many batches at most CatchUp hands over: as many copies as there is room for.
	catchUpBatches = 128
)

// ReadCopies hands over copies in batches until StopReadingCopies, and then the
// rest. The slice and the payloads are valid during the call only.
func (d *Datapath) ReadCopies(handle func([]Copy)) error {
	r := &copyReader{d: d, clock: newClock(), payload: make([]byte, 0, copyPayload), batch: make([]Copy, 0, copyBatch), handle: handle}
	d.copies.SetDeadline(time.Unix(1, 0)) // so that reading does not wait
	d.setCopyReader(r)
	defer d.setCopyReader(nil)
	idle := 0
	for {
		if d.copies.AvailableBytes() > 0 {
			idle = 0
		} else if idle++; idle >= idleLooks {
			d.copying.Lock()
			r.clock.adjust()
			d.copying.Unlock()
			if err := d.sleepUntilCopied(); err != nil {
				return err
			}
		}
		more, err := r.drain()
		if errors.Is(err, ringbuf.ErrFlushed) || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read copies: %w", err)
		}
		if more || idle >= idleLooks {
			continue
		}
		time.Sleep(copyInterval)
	}
}

func (d *Datapath) setCopyReader(r *copyReader) {
	d.copying.Lock()
	defer d.copying.Unlock()
	d.copyReader = r
}

// sleepUntilCopied returns when there is a copy, or after a while.
func (d *Datapath) sleepUntilCopied() error {
	if err := d.objects.ReaderSleeps.Put(uint32(0), uint32(1)); err != nil {
		return fmt.Errorf("ask to be woken for copies: %w", err)
	}
	// A copy that was being made just now may not have seen the wish.
	fds := [1]unix.PollFd{{Fd: int32(d.objects.Copies.FD()), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds[:], int(readInterval/time.Millisecond)); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for copies: %w", err)
	}
	return nil
}

// CatchUp hands what had been copied before the call to the handler of ReadCopies, so that
// nothing that comes after it is judged without. That handler must not wait for the caller.
// While nobody reads it does nothing.
func (d *Datapath) CatchUp() {
	d.copying.Lock() // what was taken out before is handled by then
	defer d.copying.Unlock()
	for range catchUpBatches {
		if d.copyReader == nil || !d.copyReader.drainSome() {
			return
		}
	}
}

// StopReadingCopies lets ReadCopies hand over what is there and return.
func (d *Datapath) StopReadingCopies() error { return d.copies.Flush() }

type copyReader struct {
	d       *Datapath
	clock   *clock
	record  ringbuf.Record
	payload []byte
	batch   []Copy
	handle  func([]Copy)
}

// drain reads and hands over what is there, in so many copies at most as are handled
// at once. There may be more after so many.
func (r *copyReader) drain() (more bool, err error) {
	r.d.copying.Lock()
	defer r.d.copying.Unlock()
	defer r.flush()
	for range copyBatch {
		err := r.d.copies.ReadInto(&r.record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		r.take(r.record.RawSample)
	}
	return true, nil
}

// drainSome is drain, for who does not care for what else the ring buffer says: it is not
// asked where it is empty, which is a system call.
func (r *copyReader) drainSome() (more bool) {
	defer r.flush()
	for range copyBatch {
		if r.d.copies.AvailableBytes() == 0 || r.d.copies.ReadInto(&r.record) != nil {
			return false
		}
		r.take(r.record.RawSample)
	}
	return true
}

func (r *copyReader) flush() {
	if len(r.batch) > 0 {
		r.handle(r.batch)
	}
	r.batch, r.payload = r.batch[:0], r.payload[:0]
}

// take adds a record to the batch. What an older program with another layout left in
// a pinned ring buffer is passed over.
func (r *copyReader) take(raw []byte) {
	const header = int(unsafe.Sizeof(bpf.ConnectionsCopy{}))
	if len(raw) < header {
		return
	}
	k := (*bpf.ConnectionsCopy)(unsafe.Pointer(&raw[0])) // ring buffer samples are 8-byte aligned
	if len(raw) < header+int(k.Length) {
		return
	}
	if len(r.payload)+int(k.Length) > cap(r.payload) {
		r.flush()
	}
	from := len(r.payload)
	r.payload = append(r.payload, raw[header:][:k.Length]...)
	payload := r.payload[from:]
	c := r.decode(k)
	if k.Segment == 0 {
		c.Payload = payload
		r.add(c)
		return
	}
	// A superpacket of UDP is several datagrams.
	for len(payload) > 0 {
		n := min(int(k.Segment), len(payload))
		c.Payload, payload = payload[:n:n], payload[n:]
		r.add(c)
		c.Lost = 0
	}
}

func (r *copyReader) add(c Copy) {
	if len(r.batch) == cap(r.batch) {
		r.handle(r.batch) // the payloads stay
		r.batch = r.batch[:0]
	}
	r.batch = append(r.batch, c)
}

func (r *copyReader) decode(k *bpf.ConnectionsCopy) Copy {
	flags := bpf.ConnectionsFlowFlags(k.FlowFlags)
	c := Copy{
		Key: FlowKey{k.Key}, ID: k.Id, Ended: k.Kind == uint8(bpf.ConnectionsCopyKindCOPY_ENDED),
		Tuple:     tupleOfKey(&k.Key, flags&bpf.ConnectionsFlowFlagsFLOW_SOURCE_IS_HIGH != 0),
		Direction: packet.Direction(k.Direction), Interface: r.d.names.get(k.Ifindex),
		First: r.clock.wall(k.First), Time: r.clock.wall(k.Time),
		Tables: k.Tables, Rule: k.Rule, Verdict: k.Verdict, Action: k.Action, Reason: k.Reason,
		Prevent:  flags&bpf.ConnectionsFlowFlagsFLOW_PREVENT != 0,
		Loopback: flags&bpf.ConnectionsFlowFlagsFLOW_LOOPBACK != 0,
		Held:     flags&bpf.ConnectionsFlowFlagsFLOW_HELD != 0,
		End:      int(k.End), Seq: k.Seq, Ack: k.Ack, Flags: k.TcpFlags, Initial: k.Initial, Acked: k.Acked,
		Missing: int(k.Missing), Lost: k.Lost, Credit: int(k.Credit),
		Fragment: k.Flags&uint8(bpf.ConnectionsCopyFlagsCOPY_FRAGMENT) != 0,
	}
	for end := range 2 {
		c.HasInitial[end] = k.Tcp&(uint32(bpf.ConnectionsFlowTcpTCP_SYN)<<end) != 0
		c.HasAcked[end] = k.Tcp&(uint32(bpf.ConnectionsFlowTcpTCP_ACKS)<<end) != 0
	}
	return c
}
