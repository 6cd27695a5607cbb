package connectionpolicyextension

import (
	"time"

	"github.com/weirnet/weir/internal/securefile"
)

const (
	// confirmPoll is how often confirm_file is looked at while a change waits.
	confirmPoll = time.Second
	// rollBackRetry is how long to wait when the policy before was refused by
	// those who enforced it a moment ago.
	rollBackRetry = 5 * time.Second
)

// confirmation waits for somebody to confirm a change. Until then the version
// to return to is kept; it stays the last confirmed one however many changes follow.
type confirmation struct {
	// file is touched to confirm; empty where there is none.
	file   string
	access securefile.Access

	// waiting tells that the version in force is not confirmed; the rest is
	// valid while it is.
	waiting  bool
	within   time.Duration
	back     version
	applied  time.Time
	touched  time.Time
	deadline time.Time
}

// target is the version that a change of current returns to.
func (c *confirmation) target(current version) version {
	if c.waiting {
		return c.back
	}
	return current
}

// wait begins, or begins anew, to wait for the confirmation of a change that
// was applied at now over the version before.
func (c *confirmation) wait(before version, now time.Time, within time.Duration) {
	c.back = c.target(before)
	c.within = within
	c.waiting = true
	c.applied, c.deadline = now, now.Add(c.within)
	c.touched = c.touchTime()
}

// done ends the waiting.
func (c *confirmation) done() {
	c.waiting, c.back = false, version{}
}

// given tells whether the file was touched since the change was applied. A time
// it already bore then does not count, even one in the future.
func (c *confirmation) given() bool {
	at := c.touchTime()
	return !at.Equal(c.touched) && at.After(c.applied)
}

// beforehand tells whether the file was touched after the policy file was written.
func (c *confirmation) beforehand(policyFile string) bool {
	if policyFile == "" {
		return false
	}
	info, err := securefile.Stat(policyFile, c.access)
	return err == nil && c.touchTime().After(info.ModTime())
}

// touchTime is when the file was touched last; zero if there is none, or if
// others than root and the service user could have touched it.
func (c *confirmation) touchTime() time.Time {
	if c.file == "" {
		return time.Time{}
	}
	info, err := securefile.Stat(c.file, c.access)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
