// Package engine joins the policy and the datapath: it is the life of a
// connection from its first packet to the record of its end.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// Timeouts are the idle times after which a connection is over.
type Timeouts = datapath.Timeouts

// XDP says where packets of blocked connections are dropped early.
type XDP = datapath.XDP

// Values of XDP.
const (
	XDPOff     = datapath.XDPOff
	XDPNative  = datapath.XDPNative
	XDPGeneric = datapath.XDPGeneric
)

// KeepMode says what stays in the kernel when the engine ends.
type KeepMode uint8

// The keep modes.
const (
	KeepAuto   KeepMode = iota // prevent keeps, detect unloads
	KeepAlways                 // enforcement outlives the process
	KeepNever                  // an orderly end unloads
)

// Config is what an engine is made with.
type Config struct {
	// Include and Exclude are globs of interface names. Without Include, the
	// interfaces with a route off the host are watched.
	Include, Exclude []string
	XDP              XDP
	// MaxEntries is the size of the flow table in connections.
	MaxEntries uint32
	Timeouts   Timeouts
	// UpdateInterval is the time between updates of a live connection; 0: none.
	UpdateInterval time.Duration
	Keep           KeepMode
	Inspect        InspectConfig
	// FollowJournal is for SSH logins where the kernel does not tell. Without it the
	// journal is not asked.
	FollowJournal FollowJournal
	// OnChange is told when the policy in force changes by itself: rules that
	// expire. It must not block. It may be nil.
	OnChange func(telemetry.PolicyChange)
}

// Engine is the one live instance of a network namespace.
type Engine struct {
	config Config
	log    *zap.Logger
	data   *datapath.Datapath

	apply    sync.Mutex // one policy at a time
	expiry   *time.Timer
	pinned   bool
	chosen   bool // whether to pin was decided by a policy
	versions versions
	// lastGeneration is the highest of an earlier process; 0 where there was none.
	lastGeneration uint64

	handing sync.Mutex // one batch of records at a time
	records []telemetry.Connection
	ended   []uint64 // connections

	looks   *looks
	looking sync.WaitGroup
	sshd    sshServers
	holding holder

	stop    chan struct{}
	running sync.WaitGroup
	sweeps  sweeps
}

// New loads the programs. The policy in force, if an earlier instance left one
// pinned, stays until Apply.
func New(cfg Config, log *zap.Logger) (*Engine, error) {
	data, err := datapath.Open(datapath.Config{
		MaxEntries: cfg.MaxEntries, Include: cfg.Include, Exclude: cfg.Exclude, XDP: cfg.XDP,
	}, log)
	if err != nil {
		return nil, err
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(telemetry.PolicyChange) {}
	}
	e := &Engine{config: cfg, log: log, data: data, stop: make(chan struct{})}
	e.looks = newLooks(&cfg.Inspect, max(cfg.Timeouts.TCP, cfg.Timeouts.UDP), data, log)
	if e.pinned, err = data.Pinned(); err != nil {
		return nil, errors.Join(err, data.Close())
	}
	kept, err := data.Versions()
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	for _, v := range kept {
		n := &version{tables: v.Tables, generation: v.Generation, rules: v.Rules}
		if v.Gone {
			e.versions.remember(n)
		} else {
			e.versions.add(n)
		}
		e.lastGeneration = max(e.lastGeneration, v.Generation)
	}
	return e, nil
}

// Start watches the interfaces and hands records to sink, one batch at a time.
// sink must not block. Without a policy applied before, it is detect mode without
// rules.
func (e *Engine) Start(sink Sink) error {
	if v := e.versions.latest(); v == nil || v.policy == nil {
		if err := e.Apply(0, nil, nil); err != nil {
			return err
		}
	}
	// The first sweep tells the kernel which process is the agent.
	if err := e.sweepOnce(); err != nil {
		return err
	}
	e.looking.Go(func() { e.lookInto(sink) })
	e.running.Add(2)
	go func() {
		defer e.running.Done()
		e.read(sink)
	}()
	go func() {
		defer e.running.Done()
		e.sweep(sink)
	}()
	if err := e.data.Attach(); err != nil {
		return fmt.Errorf("watch the interfaces: %w", err)
	}
	return nil
}

// LastGeneration is the number of the last policy that an earlier process put in
// force, as far as the kernel still knows it.
func (e *Engine) LastGeneration() uint64 { return e.lastGeneration }

// Shutdown hands the last records to sink. When the process ends, the kernel is
// left as Keep says; until then, for some seconds, the datapath waits for an
// engine that takes it over.
func (e *Engine) Shutdown(context.Context) error {
	e.apply.Lock()
	defer e.apply.Unlock()
	if e.expiry != nil {
		e.expiry.Stop()
	}
	var errs []error
	// What an earlier process left stays where no policy came into force since.
	if e.pinned && e.chosen && !e.keeps(e.versions.latest()) {
		errs = append(errs, e.data.SetKeep(false))
	}
	errs = append(errs, e.stopHold(), e.looks.logins.unfollow())
	close(e.stop)
	e.running.Wait()
	e.looking.Wait()
	e.looks.stopAsking()
	e.data.Park() // a reload goes on with it
	return errors.Join(errs...)
}

// pins says whether the datapath is pinned while the engine runs: what prevents
// must outlive a process that is killed, whatever Keep says of an orderly end.
func (e *Engine) pins(p *policy.Policy) bool {
	return e.config.Keep == KeepAlways || p.Mode == policy.Prevent
}

// keeps says whether it stays pinned at an orderly end.
func (e *Engine) keeps(v *version) bool {
	switch e.config.Keep {
	case KeepAlways:
		return true
	case KeepNever:
		return false
	}
	return v != nil && v.policy != nil && v.policy.Mode == policy.Prevent
}
