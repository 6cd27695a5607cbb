package connectionpolicyextension

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"

	"github.com/weirnet/weir/extension/connectionpolicyextension/internal/metadata"
	"github.com/weirnet/weir/internal/securefile"
	"github.com/weirnet/weir/internal/telemetry"
)

var (
	_ extension.Extension = (*policyExtension)(nil)
	_ PolicySource        = (*policyExtension)(nil)
	_ EventSink           = (*policyExtension)(nil)
)

// policyExtension holds the policy.
type policyExtension struct {
	cfg    *Config
	id     string
	now    func() time.Time
	report *reporter
	// version is that of the Collector.
	version string
	// audit is nil without an audit log. It is set before others know the extension.
	audit *auditor

	// stop ends the goroutine that looks for changes, done is closed when it
	// has ended; both are nil where there is none.
	stop context.CancelFunc
	done chan struct{}
	// fetchDone is closed when nothing is fetched any more; nil where nothing is.
	fetchDone chan struct{}
	// wake has the goroutine look at once.
	wake chan struct{}

	// mu guards what follows. It is held while subscribers are called: that is
	// what makes them be called one at a time.
	mu         sync.Mutex
	subs       subscribers
	watch      watcher
	confirm    confirmation
	lastNumber uint64
	// continued tells that lastNumber goes on where an earlier process ended.
	continued bool
	// store keeps the last good policy; nil where none is kept.
	store *store
	// current is the version in force since loaded; its Policy is nil until the
	// first one was read, and after the end.
	current version
	loaded  time.Time
	// lockedOut was refused because it locks everybody out; confirming it
	// afterwards is still possible.
	lockedOut *candidate
	// unwritten is a policy that was put in force and is to be written to the file
	// once it is confirmed; nil where there is none.
	unwritten *unwritten
	temporary temporaryRules
}

func newPolicyExtension(set extension.Settings, cfg *Config) (*policyExtension, error) {
	if !cfg.hasPolicy() {
		return nil, errNoPolicy
	}
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("create the metrics of %s: %w", set.ID, err)
	}
	e := &policyExtension{
		cfg:     cfg,
		id:      set.ID.String(),
		now:     time.Now,
		version: set.BuildInfo.Version,
		// A policy that is refused is no fault of the program, so no stack traces.
		report: &reporter{logger: set.Logger.WithOptions(zap.AddStacktrace(zap.PanicLevel)), telemetry: builder},
		confirm: confirmation{
			file: cfg.confirmFile(), access: cfg.access(securefile.Trusted),
		},
	}
	reader, err := newReader(cfg, e.id, func() time.Time { return e.now() })
	if err != nil {
		return nil, err
	}
	e.watch = watcher{reader: reader, interval: cfg.ReloadInterval}
	return e, nil
}

// Start reads the first policy; without one the Collector does not start.
func (e *policyExtension) Start(startCtx context.Context, host component.Host) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.report.host = host
	if err := e.openAudit(); err != nil {
		return err
	}
	if e.watch.reader.remote != nil {
		e.fetch(startCtx) // what comes of it is found by first
	}
	if err := e.first(); err != nil {
		err = fmt.Errorf("load the policy from %s: %w", e.watch.reader.source, err)
		e.audit.problem(e.now(), err)
		err = errors.Join(err, e.closeAudit(context.Background()))
		e.report.telemetry.Shutdown()
		return err
	}
	if e.cfg.ReloadInterval == 0 {
		return nil
	}
	e.wake = make(chan struct{}, 1)
	var ctx context.Context
	// The context of Start ends with the start; this one ends in Shutdown.
	ctx, e.stop = context.WithCancel(context.Background())
	e.done = make(chan struct{})
	e.watch.next = e.now().Add(e.cfg.ReloadInterval)
	go e.run(ctx, e.signals())
	if e.watch.reader.remote != nil {
		e.fetchDone = make(chan struct{})
		go e.fetchAgain(ctx)
	}
	return nil
}

// first loads the policy that there is nothing to return from but the last good
// one of an earlier process.
func (e *policyExtension) first() error {
	e.openStore()
	e.openTemporary()
	c := e.watch.reader.load()
	e.report.warnings(c.warnings)
	err := c.err
	if err == nil {
		err = e.checkLockOut(c.policy, false)
	}
	e.watch.handled = c.seen
	if err != nil {
		if errors.Is(err, errLockOut) {
			e.lockedOut = c
		}
		return e.fallBack(err)
	}
	switch k, err := e.lastGood(); {
	case err != nil:
		e.report.notKept(err) // and what is not readable is replaced
	case k != nil && k.Digest == c.text.digest():
		e.continueAt(k.Number) // it is the same
	case k != nil && e.cfg.ConfirmWithin > 0 && e.cfg.ReloadInterval > 0:
		if e.startUnchanged() {
			return nil
		}
	}
	if err := e.install(version{seen: c.seen, text: c.text, Generation: Generation{Policy: c.policy, Source: e.watch.reader.source}}); err != nil {
		return err
	}
	e.tell(telemetry.PolicyLoaded, e.current.Number, describe(c.policy))
	return nil
}

// signals is where SIGUSR1 arrives, which confirms a change. The signal belongs
// to the whole Collector, so it is taken only where changes are to be confirmed.
func (e *policyExtension) signals() chan os.Signal {
	if e.cfg.ConfirmWithin == 0 {
		return nil
	}
	usr1 := make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	return usr1
}

func (e *policyExtension) run(ctx context.Context, usr1 chan os.Signal) {
	defer close(e.done)
	if usr1 != nil {
		defer signal.Stop(usr1)
	}
	timer := time.NewTimer(e.cfg.ReloadInterval)
	defer timer.Stop()
	for {
		signalled := false
		select {
		case <-ctx.Done():
			return
		case <-usr1:
			signalled = true
		case <-e.wake: // somebody may have set a deadline
		case <-timer.C:
		}
		e.mu.Lock()
		if signalled && e.confirm.waiting {
			e.confirmed("by SIGUSR1")
		}
		next := e.step(e.now())
		e.mu.Unlock()
		timer.Reset(time.Until(next))
	}
}

// Shutdown ends the looking for changes. The policy stays with those that
// enforce it; what becomes of it is their choice (on_shutdown).
func (e *policyExtension) Shutdown(ctx context.Context) error {
	if e.stop != nil {
		e.stop()
		if e.fetchDone != nil {
			<-e.fetchDone // its request ends with the context
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return fmt.Errorf("stop %s: a receiver is still applying a policy: %w", e.id, ctx.Err())
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropUnwritten()
	e.current, e.subs = version{}, subscribers{}
	err := e.closeAudit(ctx)
	e.report.telemetry.Shutdown()
	return err
}
