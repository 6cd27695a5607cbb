package datapath

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/weirnet/weir/bpf"
)

// flowFields are the places of those fields of struct flow that a merge is about.
// They are looked up by name and not taken from the Go bindings, so that the test
// can go over to programs of another layout, and back.
type flowFields struct{ id, first, last, flags, tcp, fin int }

func findFlowFields(t btf.Type) (f flowFields, err error) {
	s, ok := btf.As[*btf.Struct](t)
	if !ok {
		return f, fmt.Errorf("struct flow is %v", t)
	}
	for name, at := range map[string]*int{
		"id": &f.id, "first": &f.first, "last": &f.last, "flags": &f.flags, "tcp": &f.tcp, "fin": &f.fin,
	} {
		*at = -1
		for _, m := range s.Members {
			if m.Name == name {
				*at = int(m.Offset.Bytes())
			}
		}
		if *at < 0 {
			return f, fmt.Errorf("struct flow has no field %s", name)
		}
	}
	return f, nil
}

// putChanged copies the connections that had a packet since then. Our programs
// are not in the hooks yet.
func (c *carry) putChanged(since uint64) error {
	return c.each(func(b *buffer, n int) error {
		changed := 0
		for i := range n {
			if c.isSince(b.value(i), since) {
				copy(b.key(changed), b.key(i))
				copy(b.value(changed), b.value(i))
				changed++
			}
		}
		if changed == 0 {
			return nil
		}
		return c.put(b, changed)
	})
}

// mergeChanged takes over what changed since then, while our programs judge.
func (c *carry) mergeChanged(since uint64) error {
	return c.each(func(b *buffer, n int) error {
		for i := range n {
			if !c.isSince(b.value(i), since) {
				continue
			}
			if err := c.merge(b.key(i), b.value(i), since); err != nil {
				return fmt.Errorf("carry a connection over: %w", err)
			}
		}
		return nil
	})
}

// finSeen are the bits of a connection that its ends have closed.
const finSeen = uint16(3 * (bpf.ConnectionsFlowTcpTCP_FIN | bpf.ConnectionsFlowTcpTCP_FIN_AHEAD | bpf.ConnectionsFlowTcpTCP_FIN_ACKED))

// isSince says whether a connection may have had a packet since then. Amid a
// connection a packet's time is that of its tick (bpf/clock.h): 10 ms earlier at
// most, or as much as a busy machine is late with one.
func (c *carry) isSince(flow []byte, since uint64) bool {
	const tick = 100 * time.Millisecond
	return le64(flow[c.flow.last:])+uint64(tick) >= since || le64(flow[c.flow.first:]) >= since
}

// merge puts a connection of the earlier table into ours.
func (c *carry) merge(key, old []byte, since uint64) error {
	ours, err := c.ours.LookupBytes(key)
	if err != nil {
		return err
	}
	if ours == nil {
		err := c.ours.Update(key, old, ebpf.UpdateNoExist)
		if isFull(err) {
			c.lost++
			return nil
		}
		if err == nil || !errors.Is(err, ebpf.ErrKeyExist) {
			return err
		}
		ours, err = c.ours.LookupBytes(key) // a packet was quicker
		if err != nil || ours == nil {
			return err
		}
	}
	f := c.flow
	oldFirst := le64(old[f.first:])
	switch {
	case le64(ours[f.id:]) != le64(old[f.id:]):
		// It began under the earlier programs, and what ours took for its first
		// packet was a later one; or it has been opened anew since.
		if oldFirst < since || oldFirst > le64(ours[f.first:]) {
			return nil
		}
	case le64(ours[f.last:]) > le64(old[f.last:]):
		// Both have noted packets of it. Ours are the later ones: what must not be
		// missed of the others is that an end has closed it.
		fin := le16(old[f.tcp:]) & finSeen &^ le16(ours[f.tcp:])
		putLE16(ours[f.flags:], le16(ours[f.flags:])|le16(old[f.flags:])&uint16(bpf.ConnectionsFlowFlagsFLOW_CLOSED))
		putLE16(ours[f.tcp:], le16(ours[f.tcp:])|fin)
		for end := range 2 {
			if fin&(uint16(bpf.ConnectionsFlowTcpTCP_FIN|bpf.ConnectionsFlowTcpTCP_FIN_AHEAD)<<end) != 0 {
				copy(ours[f.fin+4*end:][:4], old[f.fin+4*end:][:4])
			}
		}
		old = ours
	}
	// Neither has seen all of it, and after a gap on both sides no segment would
	// move the state again (bpf/tcp_state.h): the next of each end is taken for its
	// first, as of a connection that was open when Weir began to watch.
	if tcp := le16(old[f.tcp:]); tcp&uint16(bpf.ConnectionsFlowTcpTCP_ANSWERED) != 0 {
		putLE16(old[f.tcp:], tcp&^uint16(3*(bpf.ConnectionsFlowTcpTCP_SEEN|bpf.ConnectionsFlowTcpTCP_ACKS)))
	}
	return c.ours.Put(key, old)
}

// mergeFloods adds what the earlier programs counted together.
func (c *carry) mergeFloods() error {
	return c.each(func(b *buffer, n int) error {
		for i := range n {
			var old, ours bpf.ConnectionsFlood
			copy(bytesOf(&old), b.value(i))
			err := c.ours.Lookup(b.key(i), &ours)
			if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return fmt.Errorf("carry a flood over: %w", err)
			}
			if err == nil {
				old.Count += ours.Count
				old.First, old.Last = min(old.First, ours.First), max(old.Last, ours.Last)
				for end := range old.Packets {
					old.Packets[end] += ours.Packets[end]
					old.Bytes[end] += ours.Bytes[end]
				}
			}
			if err := c.ours.Put(b.key(i), bytesOf(&old)); isFull(err) {
				c.lost += old.Count
			} else if err != nil {
				return fmt.Errorf("carry a flood over: %w", err)
			}
		}
		return nil
	})
}
