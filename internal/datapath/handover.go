package datapath

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"go.uber.org/zap"
)

// handover is the way from an earlier Weir, whose programs are in the hooks, to
// this one, where some of the maps have another layout or size.
//
// Its programs go on judging with its maps while ours are filled. Only when all is
// filled, and the policy is in force in our maps, the hooks change programs, one
// after the other but within microseconds. What the earlier programs noted
// meanwhile is then taken over in a last pass.
//
// What can be missed are packets on a connection's counters, where both noted some
// of it within the last pass: milliseconds. No verdict can: a connection has its
// entry in our table, or is judged by the policy as a new one is. Only an answer
// that crosses the change of hooks may look like a connection of its own; where
// the policy would block that, it is dropped without a trace (bpf/handover.h) and
// its sender sends it again.
type handover struct {
	earlier *earlier
	carries map[string]*carry
	counts  []map[string]uint64 // matches of rules when versions were read
	pin     bool                // our maps are to be pinned
}

// pendingLink is a hook whose program is about to change.
type pendingLink struct {
	path    string
	link    link.Link
	program *ebpf.Program
}

// handoverTime is how long blocked connections without an entry go untold at most,
// should this process die in the middle.
const handoverTime = 10 * time.Second

// prepareHandover finds out what has to be copied. What cannot be is named in the
// log.
func (d *Datapath) prepareHandover(e *earlier, ours layouts) error {
	h := &handover{earlier: e, carries: map[string]*carry{}, pin: true}
	all := d.pinnedMaps()
	for name, old := range e.carried(all) {
		c, err := newCarry(name, old, all[name], e.layouts, ours)
		if err != nil {
			d.log.Warn("A map of an earlier Weir cannot be carried over; what is in it is forgotten.", zap.String("map", name), zap.Error(err))
			continue
		}
		h.carries[name] = c
	}
	if e.differ["events"] != nil {
		d.log.Warn("Events of an earlier Weir have another layout; those that nobody has read are lost.")
	}
	// When the counters began is read at once.
	if c := h.carries["created"]; c != nil {
		if err := c.putAll(); err != nil {
			return err
		}
	}
	var err error
	if d.earlierVersions, h.counts, err = e.versions(); err != nil {
		d.log.Warn("The policy of an earlier Weir cannot be read; its rules have no names.", zap.Error(err))
	}
	d.handover = h
	d.log.Info("Maps of an earlier Weir have another layout; what is in them is carried over.", zap.String("maps", e.names()))
	return nil
}

// takeOver makes the handover around the change of programs.
func (d *Datapath) takeOver(attach func() error) error {
	d.sweep.Lock() // whoever ends entries or takes floods waits
	defer d.sweep.Unlock()
	h := d.handover
	began := time.Now()
	again, err := h.fill()
	if err != nil {
		return err
	}
	if h.pin {
		if err := d.pinNext(); err != nil {
			return err
		}
	}
	now, err := monotonic()
	if err != nil {
		return err
	}
	if err := errors.Join(d.pins.detachXDP(), d.setHandover(now+uint64(handoverTime))); err != nil {
		return err
	}
	switched := time.Now()
	if err := errors.Join(d.switchHooks(), attach(), waitForPackets(), h.finish(d, again)); err != nil {
		return fmt.Errorf("take the hooks over from an earlier Weir: %w", err)
	}
	if err := d.setHandover(0); err != nil {
		return err
	}
	if h.pin {
		if err := d.pins.replaceMaps(); err != nil {
			return err
		}
	}
	var lost uint64
	for _, c := range h.carries {
		lost += c.lost
	}
	if lost > 0 {
		d.log.Warn("The maps are smaller than those of the earlier Weir; what had no room in them is forgotten.", zap.Uint64("lost", lost))
	}
	d.log.Info("The hooks were taken over from an earlier Weir.",
		zap.Duration("filling", switched.Sub(began)), zap.Duration("last_pass", time.Since(switched)))
	h.earlier.close()
	d.handover = nil
	return nil
}

func (d *Datapath) setHandover(until uint64) error {
	if err := d.objects.HandoverUntil.Put(uint32(0), until); err != nil {
		return fmt.Errorf("tell the programs of the handover: %w", err)
	}
	return nil
}

// fill copies everything, and then the connections that have changed since. It
// returns since when the last pass has to look.
func (h *handover) fill() (again uint64, err error) {
	began, err := monotonic()
	if err != nil {
		return 0, err
	}
	for name, c := range h.carries {
		switch {
		case isFloods(name):
			continue // only when nobody counts any more
		case c.old.Type() == ebpf.PerCPUArray:
			err = c.addCounters()
		default:
			err = c.putAll()
		}
		if err != nil {
			return 0, err
		}
	}
	now, err := monotonic()
	if err != nil {
		return 0, err
	}
	if c := h.carries["flows"]; c != nil {
		lost := c.lost
		if err := c.putChanged(began); err != nil {
			return 0, err
		}
		c.lost = lost // those that had no room have none now
	}
	return now, nil
}

func isFloods(name string) bool { return name == "floods" || name == "merged_floods" }

// finish takes over what the earlier programs noted since.
func (h *handover) finish(d *Datapath, since uint64) error {
	for name, c := range h.carries {
		var err error
		switch {
		case name == "flows":
			err = c.mergeChanged(since)
		case isFloods(name):
			err = c.mergeFloods()
		case c.old.Type() == ebpf.PerCPUArray:
			err = c.addCounters()
		}
		if err != nil {
			return err
		}
	}
	_, counts, err := h.earlier.versions()
	if err != nil {
		counts = h.counts // already in the log
	}
	for _, matched := range counts {
		if err := d.AddRuleTotals(matched); err != nil {
			return err
		}
	}
	return nil
}

// switchHooks gives all pinned links our programs, with nothing in between. Filters
// of a kernel without tcx get theirs when the interfaces are attached to.
func (d *Datapath) switchHooks() error {
	if d.clsact {
		return nil
	}
	names, err := d.pins.entries()
	if err != nil {
		return err
	}
	var pending []pendingLink
	for _, name := range names {
		index, ok := linkIndex(name)
		if !ok {
			continue
		}
		i := d.paths.interfaces[index]
		if i == nil {
			continue // gone; leaveStale removes the pin
		}
		ingress, egress, err := d.programsFor(i)
		if err != nil {
			continue // attachTo says why
		}
		program := ingress
		if hookName(name) == "egress" {
			program = egress
		}
		path := filepath.Join(d.pins.folder, name)
		kept, err := d.openLink(path, index)
		if err != nil {
			return err
		}
		if kept != nil {
			pending = append(pending, pendingLink{path, kept, program})
		}
	}
	d.switched = map[string]link.Link{}
	for _, p := range pending {
		if p.link.Update(p.program) == nil {
			d.switched[p.path] = p.link
		}
	}
	return nil
}
