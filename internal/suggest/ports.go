package suggest

import (
	"slices"
	"strconv"
)

// span is a range of ports, both ends included.
type span struct{ first, last uint16 }

func (s span) String() string {
	if s.first == s.last {
		return strconv.Itoa(int(s.first))
	}
	return strconv.Itoa(int(s.first)) + "-" + strconv.Itoa(int(s.last))
}

// spansOf joins neighbors, and then, where there are more than most, those with the
// smallest gaps; widened says that this took ports in that were not seen.
func spansOf(ports []uint16, most int) (spans []span, widened bool) {
	ports = slices.Clone(ports)
	slices.Sort(ports)
	for _, p := range slices.Compact(ports) {
		if n := len(spans); n > 0 && spans[n-1].last+1 == p {
			spans[n-1].last = p
			continue
		}
		spans = append(spans, span{p, p})
	}
	if len(spans) <= most {
		return spans, false
	}
	gaps := make([]int, len(spans)-1)
	for i := range gaps {
		gaps[i] = int(spans[i+1].first) - int(spans[i].last)
	}
	order := make([]int, len(gaps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return gaps[a] - gaps[b] })
	joined := make([]bool, len(gaps))
	for _, i := range order[:len(spans)-most] {
		joined[i] = true
	}
	kept := spans[:1]
	for i, next := range spans[1:] {
		if joined[i] {
			kept[len(kept)-1].last = next.last
		} else {
			kept = append(kept, next)
		}
	}
	return kept, true
}
