package connectionpolicyextension

import (
	"errors"
	"fmt"
	"time"

	"github.com/weirnet/weir/internal/audit"
	"github.com/weirnet/weir/internal/policy"
)

// Why a policy is not replaced, confirmed or taken back. What the policy itself does
// wrong is an error of type policy.Errors, or ErrLockOut.
var (
	ErrNotWritable = errors.New("the policy cannot be replaced")
	ErrChanged     = errors.New("the policy is another one by now")
	ErrNoChange    = errors.New("no change waits to be confirmed")
	ErrNotRunning  = errors.New("no policy is in force")
	ErrLockOut     = errLockOut
)

// Document is the policy in force, with its text.
type Document struct {
	Generation
	Loaded time.Time
	// Content is the policy as it was read, without its lists. ETag is the hash of
	// both.
	Content []byte
	ETag    string
	// Writable: Replace can replace it.
	Writable bool
	// Returns is when the policy before returns; zero where this one stays.
	Returns time.Time
	// Problem is why what is configured is not in force, or the audit log not written;
	// nil where all is well.
	Problem error
	// Temporary are the rules that stand before those of the document.
	Temporary []TemporaryRule
}

// Document is the policy in force.
func (e *policyExtension) Document() (Document, error) {
	e.mu.Lock()
	if e.current.Policy == nil {
		e.mu.Unlock()
		return Document{}, ErrNotRunning
	}
	packed := e.current.packed
	d := Document{
		Generation: e.current.Generation, Loaded: e.loaded, ETag: packed.digest,
		Writable: e.cfg.File != "" && !e.cfg.OneFile, Temporary: e.temporary.list(e.now()),
	}
	if e.confirm.waiting {
		d.Returns = e.confirm.deadline
	}
	d.Problem = e.report.problem()
	e.mu.Unlock()
	text, err := packed.unpack() // others need not wait for it
	if err != nil {
		return Document{}, fmt.Errorf("read the policy in force: %w", err)
	}
	d.Content = text.content
	if e.cfg.OneFile {
		// The file also says where events go, and may have secrets for it.
		if d.Content, err = policy.WithoutService(text.content); err != nil {
			return Document{}, fmt.Errorf("read the policy in force: %w", err)
		}
	}
	return d, nil
}

// Replacement is a policy that is to replace the one in force.
type Replacement struct {
	Content []byte
	// IfMatch is the ETag of the policy that it is to replace; empty: whichever it
	// is.
	IfMatch string
	// DryRun: it is only checked.
	DryRun bool
	// ConfirmWithin is how long it stays without being confirmed; 0: as the setting
	// confirm_within says.
	ConfirmWithin time.Duration
}

// Replaced says what a replacement did, or would do.
type Replaced struct {
	// Generation is that in force afterwards.
	Generation uint64
	ETag       string
	Policy     *policy.Policy
	Warnings   []policy.Warning
	Changes    *policy.Changes
	// Returns is when the policy before returns; zero where this one stays.
	Returns time.Time
}

// Replace checks a policy, puts it in force and writes it to the file. One that has
// to be confirmed is written when it is: until then the file has the policy that
// returns, also for a process that starts meanwhile.
func (e *policyExtension) Replace(r Replacement) (Replaced, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.mayReplace(&r); err != nil {
		return Replaced{}, err
	}
	c := e.watch.reader.loadText(r.Content)
	done := Replaced{Generation: e.current.Number, Warnings: c.warnings, Policy: c.policy}
	if c.err != nil {
		return done, c.err
	}
	packed := c.text.pack()
	done.ETag = packed.digest
	var err error
	if done.Changes, err = diff(e.current.packed, packed, e.now()); err != nil {
		return done, err
	}
	if r.DryRun {
		return done, e.checkLockOut(c.policy, r.ConfirmWithin > 0)
	}
	if packed == e.current.packed && !e.confirm.waiting && e.watch.reader.unchanged(c.seen) {
		return done, nil // it is in force, and in the file
	}
	next, err := e.prepareFile(c)
	if err != nil {
		return done, err
	}
	if err := e.byCall(func() error { return e.takeUp(c, r.ConfirmWithin) }); err != nil {
		next.discard()
		return done, err
	}
	e.dropUnwritten()
	e.unwritten = next
	done.Generation = e.current.Number
	if e.confirm.waiting {
		done.Returns = e.confirm.deadline
		e.look()
		return done, nil
	}
	return done, e.writeOut()
}

// byCall does what a call asks for. That it is refused is told, and is no fault of
// what is configured.
func (e *policyExtension) byCall(do func() error) error {
	problem, lockedOut := e.report.policyProblem(), e.lockedOut
	err := do()
	if err != nil {
		e.lockedOut = lockedOut
		e.report.differs(problem)
	}
	return err
}

// mayReplace says why it may not, and fills in what the settings say.
func (e *policyExtension) mayReplace(r *Replacement) error {
	switch {
	case e.current.Policy == nil:
		return ErrNotRunning
	case e.cfg.URL.HasValue():
		return fmt.Errorf("%w: it comes from %s, and is changed there", ErrNotWritable, e.watch.reader.source)
	case e.cfg.File == "":
		return fmt.Errorf("%w: it is written in the Collector's configuration, not in a file", ErrNotWritable)
	case e.cfg.OneFile:
		// Whoever may replace a policy may not therefore send what is seen elsewhere.
		return fmt.Errorf("%w: its file also says where events go, so it is changed there: %s", ErrNotWritable, e.cfg.File)
	case r.ConfirmWithin < 0:
		return fmt.Errorf("%w: confirm_within is %v, accepted is a duration from 1s on", ErrNotWritable, r.ConfirmWithin)
	case r.ConfirmWithin > 0 && e.cfg.ReloadInterval == 0:
		return fmt.Errorf("%w: with reload_interval: 0 nothing waits for a confirmation", ErrNotWritable)
	}
	if r.ConfirmWithin == 0 {
		r.ConfirmWithin = e.cfg.ConfirmWithin
	}
	if r.IfMatch != "" && r.IfMatch != e.current.packed.digest {
		return fmt.Errorf("%w: it has the tag %s", ErrChanged, e.current.packed.digest)
	}
	if r.IfMatch != "" && e.unwritten == nil && !e.watch.reader.unchanged(e.current.seen) {
		return fmt.Errorf("%w: what is in %s is not in force (yet)", ErrChanged, e.cfg.File)
	}
	return nil
}

// Confirm makes the policy in force stay.
func (e *policyExtension) Confirm(by string) (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.confirm.waiting {
		return 0, ErrNoChange
	}
	e.confirmed("by " + by)
	if e.confirm.waiting {
		return 0, errors.New("the policy could not be confirmed: those that enforce it refused it")
	}
	return e.current.Number, e.unwrittenError()
}

// RollBack puts the policy in force again that would return if nobody confirmed the
// one in force.
func (e *policyExtension) RollBack(by string) (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.confirm.waiting {
		return 0, ErrNoChange
	}
	if err := e.rollBack(e.now(), "was taken back by "+by); err != nil {
		return 0, err
	}
	return e.current.Number, nil
}

// Called notes a call that was to change something in the audit log: by whom, and
// what became of it.
func (e *policyExtension) Called(by, what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.audit != nil {
		e.audit.log.Note(e.now(), audit.CallWord, by+": "+what)
	}
}

// look has the goroutine look what is due, since that may have changed.
func (e *policyExtension) look() {
	select {
	case e.wake <- struct{}{}:
	default: // it will, or there is none
	}
}
