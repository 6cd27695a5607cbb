package stream

// rank is the place of something in a heap.
type rank struct {
	weight int
	place  int // one more than its index; 0 outside
}

// heap has the heaviest first. What weighs nothing is not in it.
type heap[T any] struct {
	items []*T
	rank  func(*T) *rank
}

// top is the heaviest; nil where there is none.
func (h *heap[T]) top() *T {
	if len(h.items) == 0 {
		return nil
	}
	return h.items[0]
}

// add changes a weight by n.
func (h *heap[T]) add(item *T, n int) {
	r := h.rank(item)
	r.weight += n
	switch {
	case r.place == 0 && r.weight > 0:
		h.items = append(h.items, item)
		r.place = len(h.items)
		h.up(r.place - 1)
	case r.place != 0 && r.weight == 0:
		h.remove(r)
	case r.place != 0 && n > 0:
		h.up(r.place - 1)
	case r.place != 0:
		h.down(r.place - 1)
	}
}

func (h *heap[T]) remove(r *rank) {
	at, last := r.place-1, len(h.items)-1
	h.swap(at, last)
	h.items[last] = nil
	h.items = h.items[:last]
	r.place = 0
	if at < last {
		h.down(at)
		h.up(at)
	}
	if cap(h.items) > 64 && last < cap(h.items)/4 {
		h.items = append(make([]*T, 0, cap(h.items)/2), h.items...)
	}
}

func (h *heap[T]) up(i int) {
	for i > 0 && h.weight(i) > h.weight((i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h *heap[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if child+1 < len(h.items) && h.weight(child+1) > h.weight(child) {
			child++
		}
		if h.weight(child) <= h.weight(i) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h *heap[T]) weight(i int) int { return h.rank(h.items[i]).weight }

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.rank(h.items[i]).place, h.rank(h.items[j]).place = i+1, j+1
}
