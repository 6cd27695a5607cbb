package datapath

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// clock turns the kernel's CLOCK_MONOTONIC, which packets are stamped with, into
// wall time.
type clock struct {
	offset  time.Duration // wall time in ns since 1970 at monotonic zero
	checked time.Time
}

func newClock() *clock {
	c := &clock{}
	c.measure()
	return c
}

// adjust follows steps and slews of the wall clock.
func (c *clock) adjust() {
	if time.Since(c.checked) > 10*time.Second {
		c.measure()
	}
}

// measure reads one clock between two readings of the other. The process may be
// interrupted in between, so the closest of some tries counts.
func (c *clock) measure() {
	const tries = 5
	var closest uint64
	for range tries {
		before, err := monotonic()
		if err != nil {
			return // the last offset is the best there is
		}
		now := time.Now()
		after, err := monotonic()
		if err != nil {
			return
		}
		if took := after - before; closest == 0 || took < closest {
			closest = max(took, 1)
			c.checked = now
			c.offset = time.Duration(now.UnixNano() - int64(before+took/2))
		}
	}
}

// monotonic is CLOCK_MONOTONIC in ns.
func monotonic() (uint64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return uint64(t.Nano()), nil
}

// monotonicAt is what CLOCK_MONOTONIC will show at a time, if nobody sets the wall
// clock until then; 0 for the zero time.
func monotonicAt(t time.Time) (uint64, error) {
	if t.IsZero() {
		return 0, nil
	}
	now, err := monotonic()
	if err != nil {
		return 0, err
	}
	return uint64(max(1, int64(now)+int64(time.Until(t)))), nil
}

func (c *clock) wall(mono uint64) time.Time { return time.Unix(0, int64(mono)+int64(c.offset)) }
