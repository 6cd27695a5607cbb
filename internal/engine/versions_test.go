package engine

import (
	"testing"
	"time"
)

// TestVersionsAreForgotten: those that nothing refers to go, and whoever is asked whether the
// kernel has them may wait for a swap, which announces the next.
func TestVersionsAreForgotten(t *testing.T) {
	var v versions
	for tables := range uint32(3) {
		n := &version{}
		v.announce(n, tables+1)
		v.add(n)
		if tables > 0 {
			v.find(tables).replaced = time.Now().Add(-2 * remembered)
		}
	}
	asked := 0
	v.forget(3, func(tables uint32) bool {
		asked++
		v.announce(&version{}, 10)
		return tables == 1
	})
	if asked != 2 || v.find(1) == nil || v.find(2) != nil || v.find(3) == nil || v.find(10) == nil {
		t.Errorf("after %d questions %d are remembered", asked, len(v.all()))
	}
}
