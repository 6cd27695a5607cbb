package connectionpolicyextension

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weirnet/weir/internal/telemetry"
)

// maxTold bounds what is kept for subscribers that come later.
const maxTold = 16

// subscriber is one that enforces the policy.
type subscriber struct {
	apply   func(Generation) error
	changed func(telemetry.PolicyChange)
}

// subscribers hands generations and changes to those that asked for them. Its
// methods are called with the extension's lock held, so that they are called
// one at a time.
type subscribers struct {
	all []*subscriber
	// told are the changes since the generation in force was loaded, with that.
	told []telemetry.PolicyChange
}

// hand gives a generation to all. When one refuses it, those that already took
// it get the one before back, and the refusal is returned.
func (s *subscribers) hand(next, before Generation) error {
	for i, one := range s.all {
		err := one.apply(next)
		if err == nil {
			continue
		}
		err = fmt.Errorf("apply generation %d: %w", next.Number, err)
		for _, took := range s.all[:i] {
			if back := took.apply(before); back != nil {
				err = errors.Join(err, fmt.Errorf("go back to generation %d: %w", before.Number, back))
			}
		}
		return err
	}
	return nil
}

// tell tells all of a change and keeps it for those that come later.
func (s *subscribers) tell(change telemetry.PolicyChange) {
	if change.Change == telemetry.PolicyLoaded || change.Change == telemetry.PolicyRolledBack {
		s.told = s.told[:0]
	}
	if len(s.told) == maxTold {
		// The first one tells how the policy in force came to be.
		s.told = slices.Delete(s.told, 1, 2)
	}
	s.told = append(s.told, change)
	for _, one := range s.all {
		one.changed(change)
	}
}

func (s *subscribers) remove(gone *subscriber) {
	s.all = slices.DeleteFunc(s.all, func(one *subscriber) bool { return one == gone })
}

// Subscribe implements PolicySource.
func (e *policyExtension) Subscribe(last uint64, apply func(Generation) error, changed func(telemetry.PolicyChange)) (cancel func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current.Policy == nil {
		return nil, fmt.Errorf("subscribe to %s: it is not running", e.id)
	}
	e.renumber(last)
	if err := apply(e.current.Generation); err != nil {
		if err = e.applyLastGood(apply, err); err != nil {
			return nil, fmt.Errorf("apply generation %d of the policy from %s: %w", e.current.Number, e.current.Source, err)
		}
	}
	one := &subscriber{apply: apply, changed: changed}
	for _, change := range e.subs.told {
		changed(change)
	}
	e.subs.all = append(e.subs.all, one)
	e.keepGood()
	return func() {
		// Waits for a call that is under way, so that whoever cancels may take
		// down what apply works on.
		e.mu.Lock()
		defer e.mu.Unlock()
		e.subs.remove(one)
	}, nil
}

// renumber gives the first policy of this process a number that no other one had,
// as far as the first subscriber knows: last is the highest of an earlier process.
func (e *policyExtension) renumber(last uint64) {
	taken := e.current.Number < last || e.current.Number == last && !e.continued
	if last == 0 || !taken || len(e.subs.all) > 0 {
		return
	}
	e.lastNumber = last + 1
	e.keepNumber(e.lastNumber)
	for i := range e.subs.told {
		if e.subs.told[i].Generation == e.current.Number {
			e.subs.told[i].Generation = e.lastNumber
		}
	}
	e.current.Number = e.lastNumber
	e.report.renumbered(e.current.Generation)
}

// applyLastGood is for a first policy that the first subscriber refuses.
func (e *policyExtension) applyLastGood(apply func(Generation) error, why error) error {
	if len(e.subs.all) > 0 || e.current.text == nil {
		return why // others enforce it, or it is the last good one itself
	}
	if err := e.fallBack(why); err != nil {
		return err
	}
	return apply(e.current.Generation)
}
