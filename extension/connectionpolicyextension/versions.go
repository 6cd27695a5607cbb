package connectionpolicyextension

import (
	"errors"
	"fmt"
	"time"

	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// version is a generation with what was seen of the files it came from.
type version struct {
	Generation
	seen fingerprint
	// text is the policy as it was read, until it is kept as the last good one;
	// packed is the same, for those who ask for it.
	text   *policyText
	packed packedText
	// base is the policy without temporary rules; Policy has them.
	base *policy.Policy
}

// step does what is due at now and returns when it wants to be called again.
func (e *policyExtension) step(now time.Time) time.Time {
	if e.confirm.waiting {
		switch {
		case e.confirm.given():
			e.confirmed("by touching " + e.confirm.file)
		case !now.Before(e.confirm.deadline):
			e.rollBack(now, fmt.Sprintf("was not confirmed within %v", e.confirm.within)) // a failure is told of
		}
	}
	if c := e.watch.poll(now); c != nil {
		e.lockedOut = nil
		e.consider(c)
	} else if e.lockedOut != nil && e.confirm.beforehand(e.cfg.File) {
		c := e.lockedOut
		e.lockedOut = nil
		e.consider(c)
	}
	next := e.watch.next
	if e.confirm.waiting {
		for _, at := range []time.Time{e.confirm.deadline, now.Add(confirmPoll)} {
			if at.Before(next) {
				next = at
			}
		}
	}
	return next
}

// consider decides what becomes of content that was read completely.
func (e *policyExtension) consider(c *candidate) {
	switch {
	case c.err != nil:
		e.refused(0, c.err)
		return
	case c.seen.equal(e.current.seen):
		e.dropUnwritten()
		e.report.restored(e.current.Generation)
		return
	}
	if err := e.takeUp(c, e.cfg.ConfirmWithin); err == nil {
		e.dropUnwritten() // the file has another policy now
	}
}

// takeUp puts a policy in force that has to be confirmed within a time, if that is
// not 0. A refusal is told of, and returned.
func (e *policyExtension) takeUp(c *candidate, within time.Duration) error {
	confirmsItself := e.confirm.waiting && c.seen.equal(e.confirm.back.seen)
	if !confirmsItself {
		if err := e.checkLockOut(c.policy, within > 0); err != nil {
			if errors.Is(err, errLockOut) {
				e.lockedOut = c
			}
			e.refused(0, err)
			return err
		}
	}
	before := e.current
	next := version{seen: c.seen, text: c.text, Generation: Generation{Policy: c.policy, Source: e.watch.reader.source}}
	if within > 0 && !confirmsItself {
		next.Return = &Return{To: e.confirm.target(before).Number, Within: within}
	}
	if err := e.install(next); err != nil {
		e.refused(e.lastNumber, err)
		return err
	}
	detail := describe(c.policy)
	if next.Return != nil {
		e.confirm.wait(before, e.now(), within)
		detail += fmt.Sprintf("; generation %d returns at %s unless this is confirmed",
			e.confirm.back.Number, e.confirm.deadline.Format(time.TimeOnly))
	}
	e.report.warnings(c.warnings)
	e.tell(telemetry.PolicyLoaded, e.current.Number, detail)
	e.keepGood()
	if confirmsItself {
		e.confirmed("the content is that of the confirmed policy again")
	}
	return nil
}

// install numbers a version, hands it to the subscribers and makes it the
// current one unless one of them refuses it. A refused number is not used again,
// since connections may have been judged under it.
func (e *policyExtension) install(v version) error {
	if v.packed.data == "" && v.text != nil {
		v.packed = v.text.pack()
	}
	if v.base == nil {
		v.base = v.Policy
	}
	v.Policy = v.base.WithFirst(e.temporary.live(e.now()))
	e.lastNumber++
	v.Number = e.lastNumber
	e.keepNumber(v.Number)
	if err := e.subs.hand(v.Generation, e.current.Generation); err != nil {
		return err
	}
	e.current = v
	e.loaded = e.now()
	return nil
}

// confirmed makes the current version the one that later changes return to.
func (e *policyExtension) confirmed(how string) {
	if e.current.Return != nil {
		stays := e.current.Generation
		stays.Return = nil
		if err := e.subs.hand(stays, e.current.Generation); err != nil {
			// It goes on waiting: those that enforce it would return all the same.
			e.refused(stays.Number, fmt.Errorf("confirm: %w", err))
			return
		}
		e.current.Generation = stays
	}
	e.confirm.done()
	e.keepGood()
	e.tell(telemetry.PolicyConfirmed, e.current.Number, how)
	e.writeOut()
}

// rollBack puts the last confirmed version in force again, under a new number.
// What is in the file counts as refused until it changes.
func (e *policyExtension) rollBack(now time.Time, why string) error {
	given, back := e.current.Number, e.confirm.back
	if err := e.install(back); err != nil {
		e.confirm.deadline = now.Add(rollBackRetry)
		err = fmt.Errorf("return to the policy of generation %d: %w", back.Number, err)
		e.refused(e.lastNumber, err)
		return err
	}
	e.confirm.done()
	e.dropUnwritten()
	e.tell(telemetry.PolicyRolledBack, e.current.Number, fmt.Sprintf(
		"generation %d %s, the policy of generation %d is in force again", given, why, back.Number))
	return nil
}

// refused tells that something was not taken up and why; number is 0 for what
// was not handed out.
func (e *policyExtension) refused(number uint64, err error) {
	e.report.refusal(err)
	e.tell(telemetry.PolicyRefused, number, fmt.Sprintf("%s; generation %d stays in force", oneLine(err), e.current.Number))
}

func (e *policyExtension) tell(change telemetry.Change, number uint64, detail string) {
	record := telemetry.PolicyChange{
		Time: e.now(), Change: change, Generation: number, Source: e.watch.reader.source, Detail: detail,
	}
	e.audit.change(record, e.current)
	e.report.change(record, e.current.Generation, e.loaded)
	e.subs.tell(record)
}

func describe(p *policy.Policy) string {
	mode := "detect"
	if p.Mode == policy.Prevent {
		mode = "prevent"
	}
	rules := fmt.Sprintf("%d rules", len(p.Rules))
	if len(p.Rules) == 1 {
		rules = "1 rule"
	}
	return rules + ", mode " + mode
}
