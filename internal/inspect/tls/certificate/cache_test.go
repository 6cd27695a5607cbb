package certificate

import (
	"fmt"
	"testing"
	"time"
)

func TestCache(t *testing.T) {
	now := time.Unix(1000, 0)
	of := func(i int) Server { return Server{Name: fmt.Sprintf("%02d", i)} } // of two bytes
	c := NewCache[int](3, 100)
	for i := range 5 {
		c.Put(of(i), i, 8, now.Add(time.Minute))
	}
	for i := range 5 {
		v, ok := c.Get(of(i), now)
		if want := i >= 2; ok != want || ok && v != i {
			t.Errorf("%d: %d, %v", i, v, ok)
		}
	}
	c.Put(of(3), 33, 8, now.Add(time.Hour))
	if v, _ := c.Get(of(3), now); v != 33 || c.Len() != 3 {
		t.Errorf("%d of %d entries", v, c.Len())
	}
	if _, ok := c.Get(of(4), now.Add(time.Minute)); ok || c.Len() != 2 {
		t.Errorf("what is over is still there, in %d entries", c.Len())
	}
	c.Put(of(9), 9, 88, now.Add(time.Minute))
	if _, ok := c.Get(of(3), now); !ok || c.Len() != 2 || c.used != 100 {
		t.Errorf("%d entries of %d bytes", c.Len(), c.used)
	}
	c.Put(of(8), 8, 99, now.Add(time.Minute))
	if _, ok := c.Get(of(8), now); ok || c.Len() != 2 {
		t.Error("what is larger than the cache is in it")
	}
}

// What is remembered of a chain is about as large as it is told to be.
func TestShownSize(t *testing.T) {
	leaf := &Certificate{Names: make([]string, 1000)}
	for i := range leaf.Names {
		leaf.Names[i] = fmt.Sprintf("name-%090d", i)
	}
	s := Chain{leaf}.Shown()
	if n := s.Size(); n < 200_000 || n > 250_000 { // the names are there twice
		t.Error(n)
	}
}
