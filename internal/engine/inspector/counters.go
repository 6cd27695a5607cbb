package inspector

import "github.com/weirnet/weir/internal/policy"

// Counter is a cause by which connections are counted.
type Counter uint8

// The counters.
const (
	Opened        Counter = iota // connections that were looked into
	Own                          // Weir's own, which were not
	LostMalformed                // it never became known what they speak: malformed
	LostLimit                    // more bytes than the limit
	LostOverload                 // given up for others
	LostNotSeen                  // their beginning was not seen
	Distrusted                   // bytes came with two contents, or out of the stream
	GivenUp                      // their parsers held too much
	Evicted                      // forgotten, since there were too many
	Idle                         // forgotten, since nobody told their end
	Yielded                      // answered for by on_error, since others had less
	counterCount
)

var counterNames = [counterCount]string{
	"opened", "own", "malformed", "limit", "overload", "not_seen", "distrusted", "given_up", "evicted", "idle", "yielded",
}

// String names the counter.
func (c Counter) String() string { return counterNames[c] }

// Counters calls each with every counter.
func (i *Inspector) Counters(each func(Counter, uint64)) {
	for c, n := range i.counts {
		each(Counter(c), n)
	}
}

func lostBy(cause policy.Cause) Counter {
	switch cause {
	case policy.Malformed:
		return LostMalformed
	case policy.Limit:
		return LostLimit
	case policy.Overload:
		return LostOverload
	}
	return LostNotSeen
}
