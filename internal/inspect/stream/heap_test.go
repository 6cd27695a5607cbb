package stream

import (
	"math/rand/v2"
	"testing"
)

func TestHeap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	ranks := make([]rank, 200)
	h := heap[rank]{rank: func(r *rank) *rank { return r }}
	for step := range 20_000 {
		r := &ranks[random.IntN(len(ranks))]
		n := random.IntN(100) - 50
		if random.IntN(4) == 0 || n < -r.weight {
			n = -r.weight
		}
		h.add(r, n)
		for i := range h.items {
			if h.weight(i) > h.weight((i-1)/2) {
				t.Fatalf("step %d: item %d is heavier than its parent", step, i)
			}
		}
		most, count := 0, 0
		for i := range ranks {
			r := &ranks[i]
			most = max(most, r.weight)
			if r.weight > 0 {
				count++
			}
			if (r.place != 0) != (r.weight > 0) || r.place != 0 && h.items[r.place-1] != r {
				t.Fatalf("step %d: weight %d at place %d", step, r.weight, r.place)
			}
		}
		if count != len(h.items) || count > 0 && h.top().weight != most || count == 0 && h.top() != nil {
			t.Fatalf("step %d: %d items, want %d; the heaviest %d is not at the top", step, len(h.items), count, most)
		}
		if step%1000 == 999 {
			for i := range ranks {
				h.add(&ranks[i], -ranks[i].weight)
			}
		}
	}
}
