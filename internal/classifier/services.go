package classifier

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/weirnet/weir/internal/policy"
)

// build makes the rows by service. They have 16 bits for a row number, so they
// come before those of addresses.
func (s *Services) build(rows *rowStore, criteria []bitCriterion) error {
	err := buildRanges(rows, criteria, s.SourcePort[:], func(c *criterion) []policy.Range { return c.source })
	if err != nil {
		return fmt.Errorf("compile source ports: %w", err)
	}
	err = buildRanges(rows, criteria, s.DestinationPort[:], func(c *criterion) []policy.Range { return c.destination })
	if err != nil {
		return fmt.Errorf("compile destination ports: %w", err)
	}
	for direction := range s.Protocol {
		if err := buildProtocols(rows, criteria, direction, &s.Protocol[direction]); err != nil {
			return fmt.Errorf("compile protocols: %w", err)
		}
	}
	return nil
}

// bitCriterion is a criterion whose entry is in the rows.
type bitCriterion struct {
	*criterion
	bit uint32
}

// small is a row number that must fit 16 bits.
func small(n uint32, err error) (uint16, error) {
	if err == nil && n > math.MaxUint16 {
		err = fmt.Errorf("more than %d different rows by port and protocol", math.MaxUint16)
	}
	return uint16(n), err
}

// portBorder is a port where a range of a member begins, or by -1 ends.
type portBorder struct {
	at     int
	member int32
	by     int8
}

// buildRanges sweeps over the ports: only where a range begins or ends does the
// row change.
func buildRanges(rows *rowStore, criteria []bitCriterion, table []uint16, ranges func(*criterion) []policy.Range) error {
	always := &member{}
	var members []*member
	var borders []portBorder
	single := map[policy.Range]*member{} // most name one range
	for _, c := range criteria {
		list := ranges(c.criterion)
		if len(list) == 0 {
			always.addBit(rows, c.bit)
			continue
		}
		if len(list) == 1 && single[list[0]] != nil {
			single[list[0]].addBit(rows, c.bit)
			continue
		}
		m := &member{}
		if len(list) == 1 {
			single[list[0]] = m
		}
		m.addBit(rows, c.bit)
		for _, r := range list {
			n := int32(len(members))
			borders = append(borders, portBorder{int(r.First), n, 1}, portBorder{int(r.Last) + 1, n, -1})
		}
		members = append(members, m)
	}
	slices.SortFunc(borders, func(a, b portBorder) int { return cmp.Compare(a.at, b.at) })
	sweep := newSweep(rows, always)
	for at := 0; at < len(table); {
		for len(borders) > 0 && borders[0].at <= at {
			sweep.change(members[borders[0].member], int(borders[0].by), 0)
			borders = borders[1:]
		}
		n, err := small(sweep.currentRow())
		if err != nil {
			return err
		}
		next := len(table)
		if len(borders) > 0 {
			next = min(next, borders[0].at)
		}
		for ; at < next; at++ {
			table[at] = n
		}
	}
	return nil
}

// buildProtocols makes the rows of one direction; 0 has the entries of any.
func buildProtocols(rows *rowStore, criteria []bitCriterion, direction int, table *[256]uint16) error {
	always := &member{} // entries for any protocol
	var named [256]*member
	for _, c := range criteria {
		if direction > 0 && c.rule.Direction&(1<<(direction-1)) == 0 {
			continue
		}
		if len(c.protocols) == 0 {
			always.addBit(rows, c.bit)
		}
		for _, p := range c.protocols {
			if named[p] == nil {
				named[p] = &member{}
			}
			named[p].addBit(rows, c.bit)
		}
	}
	for p := range table {
		sweep := newSweep(rows, always)
		if named[p] != nil {
			sweep.change(named[p], 1, 0)
		}
		var err error
		if table[p], err = small(sweep.currentRow()); err != nil {
			return err
		}
	}
	return nil
}
