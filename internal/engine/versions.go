package engine

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/policy"
)

// version is a policy as it was put in force. The kernel's entries refer to it
// by the number of its tables.
type version struct {
	tables     uint32
	generation uint64         // 0 without a policy
	policy     *policy.Policy // nil in those of an earlier process
	rules      []string       // names of the walked rules
	rejects    []uint8        // of the walked rules
	byName     bool           // rules ask for names that DNS answered
	since      time.Time      // in force
	replaced   time.Time      // zero while in force
	// back is where the kernel returns to unless it is confirmed; nil: it stays.
	back *datapath.Return
}

// backLater is its return, seen from now.
func (v *version) backLater() *datapath.Return {
	if v.back == nil {
		return nil
	}
	return &datapath.Return{Tables: v.back.Tables, Within: v.back.Within - time.Since(v.since)}
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
}

// announce makes one known that is about to come into force under a number: events
// that refer to it may be read before Swap returns.
func (v *versions) announce(n *version, tables uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n.tables = tables
	v.put(n)
}

// withdraw lets one be forgotten that did not come into force.
func (v *versions) withdraw(n *version) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n.replaced = time.Now()
}

func (v *versions) put(n *version) {
	if v.byTables == nil {
		v.byTables = map[uint32]*version{}
	}
	v.byTables[n.tables] = n
}

func (v *versions) add(n *version) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.put(n)
	if v.current != nil {
		v.current.replaced = time.Now()
	}
	v.current = n
}

// remember adds one whose tables the kernel has no more.
func (v *versions) remember(n *version) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n.replaced = time.Now()
	v.put(n)
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

// all are those remembered, the latest first.
func (v *versions) all() []*version {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.SortedFunc(maps.Values(v.byTables), func(a, b *version) int { return cmp.Compare(b.tables, a.tables) })
}

// forget drops the versions that no entry refers to any more, those below oldest,
// but for those that the kernel may return to.
func (v *versions) forget(oldest uint32, held func(tables uint32) bool) {
	for _, n := range v.all() {
		// Asked without the lock: it waits for a swap, which announces.
		if n.tables < oldest && v.isOld(n) && !held(n.tables) {
			v.mu.Lock()
			delete(v.byTables, n.tables)
			v.mu.Unlock()
		}
	}
}

func (v *versions) isOld(n *version) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return !n.replaced.IsZero() && time.Since(n.replaced) > remembered
}
