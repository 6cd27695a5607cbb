package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// bench is what the lines measure with.
type bench struct {
	settings
	ctx   context.Context
	peers map[string]bool // programs of others that are there
}

// A line is one comparison.
type line struct {
	id, title, unit string
	// about says what is measured, and how.
	about string
	take  func(*bench, *result)
}

// failure is what must panics with: a line that cannot go on ends, the others are
// measured all the same.
type failure struct{ err error }

// must ends the line with an error that says what was being done.
func must(err error, doing string, args ...any) {
	if err != nil {
		panic(failure{fmt.Errorf("%s: %w", fmt.Sprintf(doing, args...), err)})
	}
}

// take measures a line.
func (b *bench) take(l line) (r result) {
	r = result{ID: l.id, Title: l.title, Unit: l.unit, About: l.about}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			r.Error = p.err.Error()
		default:
			r.Error = fmt.Sprintf("%v\n%s", p, debug.Stack())
		}
	}()
	l.take(b, &r)
	return r
}

// goOn ends the line when the run is interrupted.
func (b *bench) goOn() {
	if b.ctx.Err() != nil {
		panic(failure{errors.New("interrupted")})
	}
}

// rounds is how often each sample is taken.
func (b *bench) rounds() int { return b.pick(5, 7) }

// pick gives the quick or the full mode's number.
func (b *bench) pick(quick, full int) int {
	if b.full {
		return full
	}
	return quick
}

// interleave takes each of the samples once a round, every other round backwards,
// so that what grows or wanes over time meets all alike.
func (b *bench) interleave(rounds int, samples ...func()) {
	for round := range rounds {
		for i := range samples {
			b.goOn()
			if round%2 == 1 {
				i = len(samples) - 1 - i
			}
			samples[i]()
		}
	}
}
