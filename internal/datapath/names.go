package datapath

import (
	"net"
	"sync"
)

// nameCache remembers interface names by index, for events of interfaces that
// may be gone.
type nameCache struct{ names sync.Map }

func (c *nameCache) set(index uint32, name string) {
	if known, ok := c.names.Load(index); !ok || known != name {
		c.names.Store(index, name)
	}
}

func (c *nameCache) get(index uint32) string {
	if name, ok := c.names.Load(index); ok {
		return name.(string)
	}
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		c.set(index, i.Name)
		return i.Name
	}
	return ""
}
