package engine

import (
	"sync"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// version is a policy as it was put in force. The kernel's entries refer to it
// by the number of its tables.
type version struct {
	tables     uint32
	generation uint64         // 0 without a policy
	policy     *policy.Policy // nil in those of an earlier process
	rules      []string       // names of the walked rules
	replaced   time.Time      // zero while in force
}

// ruleName is empty where no rule decided.
func (v *version) ruleName(index uint32) string {
	if v == nil || int64(index) >= int64(len(v.rules)) {
		return ""
	}
	return v.rules[index]
}

// versions remembers those that live connections may still refer to.
type versions struct {
	mu       sync.RWMutex
	byTables map[uint32]*version
	current  *version
	previous *version
}

func (v *versions) add(n *version) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byTables == nil {
		v.byTables = map[uint32]*version{}
	}
	v.byTables[n.tables] = n
	if v.current != nil {
		v.current.replaced = time.Now()
	}
	v.previous, v.current = v.current, n
}

// remember adds one whose tables the kernel has no more.
func (v *versions) remember(n *version) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byTables == nil {
		v.byTables = map[uint32]*version{}
	}
	n.replaced = time.Now()
	v.byTables[n.tables] = n
}

// find returns nil for tables of an earlier process that the kernel has no more.
func (v *versions) find(tables uint32) *version {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.byTables[tables]
}

func (v *versions) latest() *version {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.current
}

// remembered is how long a version outlives its last entry: events on their way
// may refer to it.
const remembered = time.Minute

// forget drops the versions that no entry refers to any more: those below oldest.
func (v *versions) forget(oldest uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for tables, n := range v.byTables {
		if tables < oldest && !n.replaced.IsZero() && time.Since(n.replaced) > remembered {
			delete(v.byTables, tables)
		}
	}
}
