package connectionpolicyextension

import (
	"time"

	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// Generation is one version of the policy.
type Generation struct {
	// Number grows by one with every policy that is handed out, and goes on after a
	// restart; the same policy keeps it where the last good one is kept. One that
	// was refused keeps its number; it is not given to another.
	Number uint64
	Policy *policy.Policy
	// Source names the file, or the key path of an inline policy.
	Source string
	// Return is set while the generation waits to be confirmed.
	Return *Return
}

// Return says which generation comes back, and how long after this one came in
// force, unless this one is confirmed. Those that enforce it bring that about by
// themselves, even if the process that holds the policy is gone by then; if it is
// not, it hands the earlier policy out under a new number at that time. A generation that is confirmed is handed out
// again, with its number, without Return.
type Return struct {
	To     uint64
	Within time.Duration
}

// PolicySource hands out the policy to those that enforce it. The extension
// connection_policy implements it; a receiver finds it by component id.
type PolicySource interface {
	// Subscribe hands the current generation to apply, and then each new one,
	// one at a time, until cancel is called. A generation that apply refuses
	// with an error is given up: the source goes back to the one before it and
	// tells why. The first one refused makes Subscribe fail.
	//
	// last is the highest number that the subscriber knows of an earlier process,
	// 0 if none: the numbers go on after it, so that none is of two policies. The
	// first policy that the first subscriber refuses gives way to the last good one,
	// where there is one.
	//
	// apply that refuses leaves in force what was. Those subscribers that had
	// already taken what another one refused are handed the generation before
	// it again, under its old number.
	//
	// changed is told of everything that happens to the policy, refusals
	// included; it must not block. What happened since the current generation
	// was loaded is told before Subscribe returns.
	//
	// cancel waits for a call of apply or changed that is under way; none is
	// made after it. So it must not be called from within them, nor with a lock
	// held that they take.
	Subscribe(last uint64, apply func(Generation) error, changed func(telemetry.PolicyChange)) (cancel func(), err error)
}
