package datapath

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
)

// HoldConfig says how connections are held.
type HoldConfig struct {
	// OnOpening: from the first packet on, a SYN too. Where facts of the opening
	// itself are user space's, such as names of the destination. Else a connection is
	// held as soon as it carries something.
	OnOpening bool
	// MarkMask are the bits of a packet's mark that are Weir's between user space and
	// an ingress hook, for less than a millisecond; 0: all. What was in them is put
	// back. The value is drawn at random, and honoured only on connections that are
	// held.
	MarkMask uint32
	// Queues is how many threads read what is held, up to 256; 0: one. It counts when
	// holding begins.
	Queues int
}

// hold is the way of packets through user space.
type hold struct {
	taps     []*tap // by queue
	programs bpf.HoldPrograms
	hooks    []hook
	state    bpf.ConnectionsHoldState // as the kernel has it
	stop     bool                     // ReadHeld is to return
	reads    sync.WaitGroup           // of ReadHeld
	beats    []uint64                 // CLOCK_MONOTONIC, ns, by queue: when it was last read; 0: it is not
	kept     [][]byte                 // packets that wait for the next ReadHeld
}

// SetHold puts holding in force, or takes it away. While it is on, in prevent mode,
// the packets of connections whose verdict needs facts go to ReadHeld and no
// further; what needs facts and cannot be held (it began unseen, or there is no
// room) is answered as if they could not be had: on_error. Which connections are
// held is decided when they open, by the policy in force, and of those that were let pass
// again when a policy comes into force that needs facts of them: unless it keeps what was
// decided (on_error.not_seen), they are held as long as ReadHeld runs.
//
// The program and its device are there only while it is on. Nobody reads until
// ReadHeld is called: on_error.agent_down. SetHold lets ReadHeld return, and waits for
// that, where it takes the device away.
func (d *Datapath) SetHold(on bool, c HoldConfig) error {
	if !on {
		return d.endHold(false)
	}
	d.holding.Lock()
	defer d.holding.Unlock()
	if d.hold == nil {
		return d.startHold(c)
	}
	d.hold.configure(c)
	return d.putHoldState()
}

func (d *Datapath) startHold(c HoldConfig) (err error) {
	h := &hold{}
	defer func() {
		if err != nil {
			d.hold = nil
			err = errors.Join(err, h.close())
		}
	}()
	if h.programs, err = d.loadHold(); err != nil {
		return err
	}
	if h.taps, err = openTaps(max(c.Queues, 1)); err != nil {
		return err
	}
	h.beats = make([]uint64, len(h.taps))
	for _, t := range h.taps {
		for s, program := range map[side]*ebpf.Program{ingressSide: h.programs.HoldReturn, egressSide: h.programs.HoldEnter} {
			made, err := d.bareHook(t.index, s, program)
			if err != nil {
				return fmt.Errorf("attach to %s %s: %w", t.name, s.name, err)
			}
			h.hooks = append(h.hooks, made)
		}
	}
	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("draw the mark of packets that return: %w", err)
	}
	h.state.Mark = binary.NativeEndian.Uint32(random[:])
	h.state.Device, h.state.Queues = uint32(h.taps[0].index), uint32(len(h.taps))
	if h.state.OpenUntil, err = monotonicAt(d.Since.Add(openBefore)); err != nil {
		return err
	}
	if h.taps[0].cuts {
		d.log.Info("Superpackets of UDP (UDP_SEGMENT, UDP_GRO) are cut into datagrams before they wait for a verdict: this kernel's TAP devices do not take them (Linux 6.2 and newer do).")
	}
	h.configure(c)
	d.hold = h
	if err := d.putHoldState(); err != nil {
		return err
	}
	const stage = uint32(bpf.ConnectionsStageSTAGE_HOLD)
	if err := d.objects.Stages.Put(stage, h.programs.Hold); err != nil {
		return fmt.Errorf("put the program that holds packets in its place: %w", err)
	}
	// Last: a device that is up is sent packets.
	for _, t := range h.taps {
		if err := t.up(); err != nil {
			return err
		}
	}
	return nil
}

// bareHook attaches a program, and never by way of what an earlier process left.
func (d *Datapath) bareHook(index int, s side, program *ebpf.Program) (hook, error) {
	d.chooseHooks() // what is held may be asked for before any interface is watched
	if d.clsact {
		return d.attachFilter(index, s, program, "", false)
	}
	return d.attachTCX(index, s, program, "", false)
}

func (h *hold) configure(c HoldConfig) {
	h.state.Flags = uint32(bpf.ConnectionsHoldFlagsHOLD_ON)
	if c.OnOpening {
		h.state.Flags |= uint32(bpf.ConnectionsHoldFlagsHOLD_OPENING)
	}
	if h.taps[0].cuts {
		h.state.Flags |= uint32(bpf.ConnectionsHoldFlagsHOLD_CUTS_UDP)
	}
	h.state.Mask = c.MarkMask
	if h.state.Mask == 0 {
		h.state.Mask = ^uint32(0)
	}
	h.state.Mark &= h.state.Mask
	if h.state.Mark == 0 {
		h.state.Mark = h.state.Mask
	}
}

func (d *Datapath) putHoldState() error {
	if err := d.objects.Holds.Put(uint32(0), d.hold.state); err != nil {
		return fmt.Errorf("say how connections are held: %w", err)
	}
	return nil
}

// beat says that user space reads a queue, or that it does not any more. It reads as long
// as it reads all.
func (d *Datapath) beat(h *hold, queue int, reads bool) error {
	d.holding.Lock()
	defer d.holding.Unlock()
	if d.hold != h {
		return nil
	}
	h.beats[queue] = 0
	if reads {
		now, err := monotonic()
		if err != nil {
			return err
		}
		h.beats[queue] = now
	}
	h.state.Alive = slices.Min(h.beats)
	return d.putHoldState()
}

// endHold takes the device away. With stays, what waits for user space is answered by
// on_error.agent_down from then on, until a process holds it again.
func (d *Datapath) endHold(stays bool) error {
	d.holding.Lock()
	h := d.hold
	var err error
	switch {
	case !stays:
		err = d.forgetHold()
	case h != nil:
		h.state.Device, h.state.Alive = 0, 0
		err = d.putHoldState()
	}
	d.hold = nil
	d.holding.Unlock()
	if h == nil {
		return err
	}
	h.stop = true
	err = errors.Join(err, h.wake())
	h.reads.Wait() // whoever reads is not to read what the number is given to next
	d.unread.full.Add(h.dropped())
	return errors.Join(err, h.close())
}

func (d *Datapath) forgetHold() error {
	// Also what an earlier process left.
	if err := d.objects.Holds.Put(uint32(0), bpf.ConnectionsHoldState{}); err != nil {
		return fmt.Errorf("say that nothing is held: %w", err)
	}
	if err := ignoreAbsent(d.objects.Stages.Delete(uint32(bpf.ConnectionsStageSTAGE_HOLD))); err != nil {
		return fmt.Errorf("take the program that holds packets away: %w", err)
	}
	return nil
}

// wake has all who read look up.
func (h *hold) wake() error {
	var errs []error
	for _, t := range h.taps {
		errs = append(errs, t.look())
	}
	return errors.Join(errs...)
}

// dropped is how many packets found a queue full.
func (h *hold) dropped() (n uint64) {
	for _, t := range h.taps {
		n += t.dropped()
	}
	return n
}

// close takes the device away.
func (h *hold) close() error {
	var errs []error
	for _, made := range h.hooks {
		errs = append(errs, made.close())
	}
	for _, p := range []*ebpf.Program{h.programs.Hold, h.programs.HoldEnter, h.programs.HoldReturn} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	for _, t := range h.taps {
		errs = append(errs, t.close())
	}
	return errors.Join(errs...)
}

// loadHold loads the programs on the maps of the others.
func (d *Datapath) loadHold() (loaded bpf.HoldPrograms, err error) {
	spec, err := loadHold()
	if err != nil {
		return loaded, fmt.Errorf("read the compiled programs that hold packets: %w", err)
	}
	shared := d.sharedMaps(spec)
	if err := spec.LoadAndAssign(&loaded, &ebpf.CollectionOptions{MapReplacements: shared}); err != nil {
		return loaded, explainLoad(err)
	}
	return loaded, nil
}

// openBefore is for how long after Weir first attached a connection that is first seen
// in the middle, which the host's sockets do not tell of, counts as one that was open
// by then.
const openBefore = time.Minute

// heartbeat is how often user space says that it reads; the kernel waits for it for
// a second (bpf/hold_state.h).
const heartbeat = 200 * time.Millisecond
