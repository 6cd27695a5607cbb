package connectionpolicyextension

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/securefile"
	"github.com/weirnet/weir/internal/telemetry"
)

// defaultStateDirectory is used where neither the settings nor systemd name one.
const defaultStateDirectory = "/var/lib/weir"

// stateDirectory is where the last good policy is kept; empty where none is.
func (c *Config) stateDirectory() string {
	switch {
	case !c.KeepLastGood:
		return ""
	case c.StateDirectory != "":
		return c.StateDirectory
	case c.AllowInsecureFiles:
		// What others could have written must not outlive the trial.
		return ""
	}
	// systemd separates several by colons (systemd.exec(5)).
	if first, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); first != "" {
		return first
	}
	return defaultStateDirectory
}

// keepNumber keeps the number of a policy that is about to be handed out.
func (e *policyExtension) keepNumber(number uint64) {
	if e.store == nil {
		return
	}
	if err := e.store.saveNumber(number); err != nil {
		e.report.notKept(err)
	}
}

// keepGood keeps the current policy as the last good one: it is in force, and
// confirmed where that is asked for.
func (e *policyExtension) keepGood() {
	if e.store == nil || e.current.text == nil || e.confirm.waiting || len(e.subs.all) == 0 {
		return
	}
	if err := e.store.save(e.current.Number, e.loaded, e.current.seen, e.current.text); err != nil {
		e.report.notKept(err)
		return
	}
	e.current.text = nil // it may be large, and is not needed any more
}

// lastGood reads the policy that was kept; nil where there is none.
func (e *policyExtension) lastGood() (*kept, error) {
	if e.store == nil {
		return nil, nil
	}
	k, err := e.store.load()
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e.lastNumber = max(e.lastNumber, k.Number)
	return k, nil
}

// parseLastGood reads it as it stands now.
func (e *policyExtension) parseLastGood() (*kept, *policy.Policy, error) {
	k, err := e.lastGood()
	switch {
	case err != nil:
		return nil, nil, err
	case e.store == nil:
		return nil, nil, errors.New("none is kept (keep_last_good, allow_insecure_files)")
	case k == nil:
		return nil, nil, fmt.Errorf("%s does not exist", e.store.path)
	}
	p, err := k.text.parse(e.now())
	if err != nil {
		return nil, nil, fmt.Errorf("read the policy in %s: %w", e.store.path, err)
	}
	return k, p, nil
}

// fallBack puts the last good policy in force instead of one that cannot be. A
// host without any policy is open: that is worse than an old one. It returns an
// error where there is none, with why in it.
func (e *policyExtension) fallBack(why error) error {
	k, p, err := e.parseLastGood()
	if err != nil {
		return fmt.Errorf("%w\nThere is no last good policy to start with instead: %w", why, err)
	}
	v := version{seen: k.Seen, packed: k.text.pack(), Generation: Generation{Policy: p, Source: e.watch.reader.source}}
	e.continueAt(k.Number)
	if err := e.install(v); err != nil {
		return errors.Join(why, fmt.Errorf("put the last good policy in force instead: %w", err))
	}
	e.tell(telemetry.PolicyLoaded, e.current.Number, fmt.Sprintf("%s; the last good policy, of %s, from %s: the policy was refused",
		describe(p), k.Loaded.Format(time.RFC3339), e.store.path))
	e.report.logger.Warn("The policy was refused. The last good one is in force instead",
		zap.String("kept", e.store.path), zap.Time("loaded", k.Loaded), zap.Uint64("generation", e.current.Number))
	e.refused(0, why)
	return nil
}

// startUnchanged begins with the last confirmed policy, where the configured one is
// another: nobody has confirmed that. The watch then finds a change, which returns
// unless it is confirmed. So a policy that locks its author out does not come back
// for good with the next restart. It says whether there is such a policy.
func (e *policyExtension) startUnchanged() bool {
	k, p, err := e.parseLastGood()
	if err != nil {
		e.report.notKept(err)
		return false
	}
	e.continueAt(k.Number)
	if err := e.install(version{seen: k.Seen, packed: k.text.pack(), Generation: Generation{Policy: p, Source: e.watch.reader.source}}); err != nil {
		e.report.notKept(err)
		return false
	}
	e.watch.handled = k.Seen
	e.tell(telemetry.PolicyLoaded, e.current.Number, fmt.Sprintf("%s; the last confirmed policy, of %s: what is configured now was not confirmed, and is taken up as a change",
		describe(p), k.Loaded.Format(time.RFC3339)))
	return true
}

// continueAt makes the next version bear this number, unless a later one has been
// given.
func (e *policyExtension) continueAt(number uint64) {
	if number == e.lastNumber {
		e.lastNumber--
	}
	e.continued = true
}

// openStore finds out where an earlier process ended.
func (e *policyExtension) openStore() {
	folder := e.cfg.stateDirectory()
	if folder == "" {
		return
	}
	source := e.watch.reader.source
	if path, err := filepath.Abs(e.cfg.File); err == nil && e.cfg.File != "" {
		source = path // whatever folder the Collector is started in
	}
	e.store = newStore(folder, e.id, source)
	number, err := e.store.number()
	if err != nil {
		e.report.notKept(err)
	}
	e.lastNumber = number
	e.continued = number > 0
	for _, path := range []string{e.store.path, e.store.numberPath} {
		if err := securefile.RemoveUnfinished(path); err != nil {
			e.report.notKept(err)
		}
	}
}
