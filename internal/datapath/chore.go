package datapath

import "time"

// chore is work that is done when it is called for, but never takes more than a
// small part of the time: the longer it took, the later it is done again.
type chore struct {
	at    time.Time // when it is to be done; zero: it is not called for
	ended time.Time // when it was last done
	took  time.Duration
}

// pause is how long a chore rests, in times of what it took: a fiftieth of one
// processor is the most that it uses.
const pause = 50

// call asks for it to be done, after so long at the earliest.
func (c *chore) call(after time.Duration) {
	at := time.Now().Add(after)
	if rested := c.ended.Add(pause * c.took); at.Before(rested) {
		at = rested
	}
	if c.at.IsZero() || at.Before(c.at) {
		c.at = at
	}
}

func (c *chore) isDue() bool { return !c.at.IsZero() && !time.Now().Before(c.at) }

// do does it.
func (c *chore) do(f func()) {
	c.at = time.Time{}
	began := time.Now()
	f()
	c.ended = time.Now()
	c.took = c.ended.Sub(began)
}
