package classifier

import (
	"fmt"
	"math"
	"slices"

	"github.com/weirnet/weir/internal/policy"
)

func (s *Services) build(b *rowBuilder, criteria []criterion) error {
	err := buildRanges(b, criteria, s.SourcePort[:], func(c *criterion) []policy.Range { return c.source })
	if err != nil {
		return fmt.Errorf("compile source ports: %w", err)
	}
	err = buildRanges(b, criteria, s.DestinationPort[:], func(c *criterion) []policy.Range { return c.destination })
	if err != nil {
		return fmt.Errorf("compile destination ports: %w", err)
	}
	if err := buildProtocols(b, criteria, &s.Protocol); err != nil {
		return fmt.Errorf("compile protocols: %w", err)
	}
	for d := range s.Direction {
		row := make([]uint64, b.width)
		for i := range criteria {
			if d == 0 || criteria[i].rule.Direction&(1<<(d-1)) != 0 {
				setBit(row, i)
			}
		}
		if s.Direction[d], err = b.addSmall(row); err != nil {
			return fmt.Errorf("compile directions: %w", err)
		}
	}
	return nil
}

// addSmall adds a row whose number must fit 16 bits.
func (b *rowBuilder) addSmall(row []uint64) (uint16, error) {
	n, err := b.add(row)
	if err == nil && n > math.MaxUint16 {
		err = fmt.Errorf("more than %d different rows", math.MaxUint16)
	}
	return uint16(n), err
}

// buildRanges sweeps over the ports: only where a range begins or ends does the
// row change.
func buildRanges(b *rowBuilder, criteria []criterion, table []uint16, ranges func(*criterion) []policy.Range) error {
	type change struct {
		at    int
		entry int
		by    int // +1 begins, -1 ends
	}
	var changes []change
	row := make([]uint64, b.width)
	depth := make([]int, len(criteria)) // ranges of an entry may overlap
	for i := range criteria {
		list := ranges(&criteria[i])
		if len(list) == 0 {
			setBit(row, i)
			depth[i] = 1
		}
		for _, r := range list {
			changes = append(changes, change{int(r.First), i, 1}, change{int(r.Last) + 1, i, -1})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return a.at - b.at })
	for at := 0; at < len(table); {
		for len(changes) > 0 && changes[0].at <= at {
			c := changes[0]
			changes = changes[1:]
			depth[c.entry] += c.by
			if depth[c.entry] > 0 {
				setBit(row, c.entry)
			} else {
				clearBit(row, c.entry)
			}
		}
		n, err := b.addSmall(row)
		if err != nil {
			return err
		}
		next := len(table)
		if len(changes) > 0 {
			next = min(next, changes[0].at)
		}
		for ; at < next; at++ {
			table[at] = n
		}
	}
	return nil
}

func buildProtocols(b *rowBuilder, criteria []criterion, table *[256]uint16) error {
	rest := make([]uint64, b.width) // of protocols that no entry names
	named := map[uint8]bool{}
	for i := range criteria {
		if len(criteria[i].protocols) == 0 {
			setBit(rest, i)
		}
		for _, p := range criteria[i].protocols {
			named[p] = true
		}
	}
	n, err := b.addSmall(rest)
	if err != nil {
		return err
	}
	for p := range table {
		table[p] = n
	}
	for p := range named {
		row := slices.Clone(rest)
		for i := range criteria {
			if contains(criteria[i].protocols, p) {
				setBit(row, i)
			}
		}
		if table[p], err = b.addSmall(row); err != nil {
			return err
		}
	}
	return nil
}
