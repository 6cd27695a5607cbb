package datapath

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
)

// flowAt is an entry of a batch.
func flowAt(b *batch, i int) (f bpf.ConnectionsFlow) {
	copy(bytesOf(&f), b.value(i))
	return f
}

// putChanged copies the connections that had a packet since then. Our programs
// are not in the hooks yet.
func (c *carry) putChanged(since uint64) error {
	return c.each(func(b *batch, n int) error {
		changed := 0
		for i := range n {
			if f := flowAt(b, i); f.Last >= since || f.First >= since {
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
	return c.each(func(b *batch, n int) error {
		for i := range n {
			f := flowAt(b, i)
			if f.Last < since && f.First < since {
				continue
			}
			if err := c.merge(b.key(i), f, since); err != nil {
				return fmt.Errorf("carry a connection over: %w", err)
			}
		}
		return nil
	})
}

// finSeen are the bits of a connection that its ends have closed.
const finSeen = uint16(3 * (bpf.ConnectionsFlowTcpTCP_FIN | bpf.ConnectionsFlowTcpTCP_FIN_AHEAD | bpf.ConnectionsFlowTcpTCP_FIN_ACKED))

// merge puts a connection of the earlier table into ours.
func (c *carry) merge(key []byte, old bpf.ConnectionsFlow, since uint64) error {
	var ours bpf.ConnectionsFlow
	err := c.ours.Lookup(key, &ours)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		err := c.ours.Update(key, bytesOf(&old), ebpf.UpdateNoExist)
		if isFull(err) {
			c.lost++
			return nil
		}
		if err == nil || !errors.Is(err, ebpf.ErrKeyExist) {
			return err
		}
		err = c.ours.Lookup(key, &ours) // a packet was quicker
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	switch {
	case ours.Id != old.Id:
		// It began under the earlier programs, and what ours took for its first
		// packet was a later one; or it has been opened anew since.
		if old.First < since || old.First > ours.First {
			return nil
		}
	case ours.Last > old.Last:
		// Both have noted packets of it. Ours are the later ones: what must not be
		// missed of the others is that an end has closed it.
		closed := old.Flags & uint16(bpf.ConnectionsFlowFlagsFLOW_CLOSED) &^ ours.Flags
		fin := old.Tcp & finSeen &^ ours.Tcp
		if closed == 0 && fin == 0 {
			return nil
		}
		ours.Flags |= closed
		ours.Tcp |= fin
		for end := range ours.Fin {
			if fin&(uint16(bpf.ConnectionsFlowTcpTCP_FIN|bpf.ConnectionsFlowTcpTCP_FIN_AHEAD)<<end) != 0 {
				ours.Fin[end] = old.Fin[end]
			}
		}
		old = ours
	}
	return c.ours.Put(key, bytesOf(&old))
}

// mergeFloods adds what the earlier programs counted together.
func (c *carry) mergeFloods() error {
	return c.each(func(b *batch, n int) error {
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
