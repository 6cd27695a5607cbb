package datapath

import (
	"fmt"
	"time"

	"github.com/weirnet/weir/bpf"
)

// The kernel has three sets of tables (bpf/maps.h): those in force, those that it
// returns to by itself, and those that are filled next. The lowest bits of a
// number are the slot.
const (
	slotBits = 2
	slotMask = 1<<slotBits - 1
	slots    = 3
)

func slotOf(tables uint32) uint32 { return tables & slotMask }

// Return is what the kernel does by itself some time after a swap, also without
// the process: it puts earlier tables in force again.
type Return struct {
	Tables uint32
	Within time.Duration
}

// victim is the slot that the next tables are filled into, and of those that are
// free the one with the oldest tables. Not free are those in force, those that the
// kernel returns to, which it may do in the middle, and those that it is to return
// to from the next. ok is false where there is no other.
func (d *Datapath) victim(back *Return) (slot uint32, ok bool) {
	for s, tables := range d.slots {
		if tables != 0 && (tables == d.tables || tables == d.back || back != nil && tables == back.Tables) {
			continue
		}
		if !ok || tables < d.slots[slot] {
			slot, ok = uint32(s), true
		}
	}
	return slot, ok
}

// Victim is the number of the tables that the next Swap with that back gives up,
// 0 for none.
func (d *Datapath) Victim(back *Return) uint32 {
	d.swap.Lock()
	defer d.swap.Unlock()
	slot, ok := d.victim(back)
	if !ok {
		return 0
	}
	return d.slots[slot]
}

// noteReturn notes that the kernel has returned by itself. Where it is about to, it
// waits until it has: what is written next must not undo it, not for a moment.
func (d *Datapath) noteReturn() error {
	const about = 50 * time.Millisecond
	if d.back == 0 {
		return nil
	}
	now, err := monotonic()
	if err != nil || now+uint64(about) < d.deadline {
		return err
	}
	if now < d.deadline {
		time.Sleep(time.Duration(d.deadline - now))
	}
	d.tables, d.back = d.back, 0
	return nil
}

// Held says whether the kernel still has the tables with that number, and their
// counters.
func (d *Datapath) Held(tables uint32) bool {
	d.swap.Lock()
	defer d.swap.Unlock()
	return tables != 0 && d.slots[slotOf(tables)%slots] == tables
}

// Stay cancels the return that was scheduled with the tables in force.
func (d *Datapath) Stay() error {
	d.swap.Lock()
	defer d.swap.Unlock()
	if d.back == 0 {
		return nil
	}
	return d.putInForce(d.tables, nil)
}

// readSlots finds out which tables an earlier process left, and which of them are
// in force.
func (d *Datapath) readSlots() error {
	for slot := range uint32(slots) {
		var set bpf.ConnectionsPolicySettings
		if err := d.objects.Settings.Lookup(slot, &set); err != nil {
			return fmt.Errorf("read the settings of the tables: %w", err)
		}
		d.slots[slot] = set.Tables
	}
	var v bpf.ConnectionsInForce
	if err := d.objects.TablesInForce.Lookup(uint32(0), &v); err != nil {
		return fmt.Errorf("read the number of the tables in force: %w", err)
	}
	d.latest = max(v.Tables, v.Scheduled, d.slots[0], d.slots[1], d.slots[2])
	d.tables, d.back, d.deadline = v.Tables, v.Scheduled, v.Deadline
	now, err := monotonic()
	if err != nil {
		return err
	}
	if v.Scheduled == 0 || now < v.Deadline {
		return nil
	}
	// They returned meanwhile. What is written says so from now on.
	return d.putInForce(v.Scheduled, nil)
}
