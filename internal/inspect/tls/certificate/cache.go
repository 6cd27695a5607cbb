package certificate

import (
	"container/list"
	"sync"
	"time"
)

// Cache remembers something of servers for a time, within bounds: what was put first
// gives way. It is safe for concurrent use.
type Cache[V any] struct {
	entries, bytes int // the bounds

	mu       sync.Mutex // guards the rest
	used     int
	byServer map[Server]*list.Element
	order    *list.List // of *cached[V]; the front was put first
}

type cached[V any] struct {
	server Server
	value  V
	size   int
	until  time.Time
}

// NewCache makes a cache of at most so many entries, and bytes of what is put in.
func NewCache[V any](entries, bytes int) *Cache[V] {
	return &Cache[V]{entries: entries, bytes: bytes, byServer: map[Server]*list.Element{}, order: list.New()}
}

// Put remembers value, of size bytes, until then. It takes the place of what was
// remembered of the server before. What is larger than the cache is not remembered.
func (c *Cache[V]) Put(s Server, value V, size int, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byServer[s]; e != nil {
		c.remove(e)
	}
	size += len(s.Name) + len(s.Protocols)
	if size > c.bytes {
		return
	}
	for len(c.byServer) >= c.entries || c.used+size > c.bytes {
		c.remove(c.order.Front())
	}
	c.byServer[s] = c.order.PushBack(&cached[V]{s, value, size, until})
	c.used += size
}

// Get finds what is remembered of a server at now.
func (c *Cache[V]) Get(s Server, now time.Time) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byServer[s]
	if e == nil {
		return value, false
	}
	k := e.Value.(*cached[V])
	if !now.Before(k.until) {
		c.remove(e)
		return value, false
	}
	return k.value, true
}

// Len is the number of entries, of those that are over among them.
func (c *Cache[V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byServer)
}

func (c *Cache[V]) remove(e *list.Element) {
	k := c.order.Remove(e).(*cached[V])
	delete(c.byServer, k.server)
	c.used -= k.size
}
