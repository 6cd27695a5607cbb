// Package probe finds out which certificate a server has that hides it from the wire,
// as all do in TLS 1.3: by a handshake of its own with the same address, port and name,
// from the same source address. The handshake is a full one, in which the server proves
// that it has the key; whom it trusts is not asked. Nothing is sent behind it.
package probe

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/weirnet/weir/internal/inspect/tls/certificate"
	"github.com/weirnet/weir/internal/policy"
)

// Config is what a prober is made with. Zero stands for the default.
type Config struct {
	// Timeout is how long a probe may take, with the wait for its turn: 5 s.
	Timeout time.Duration
	// Running probes at most are under way (64), and Waiting wait for their turn (1024).
	Running, Waiting int
	// KeepFor is how long a certificate is remembered (5 min), KeepFailureFor that there
	// was none to be had (10 s).
	KeepFor, KeepFailureFor time.Duration
	// MaxEntries (4096) and MaxBytes (8 MiB) bound what is remembered.
	MaxEntries, MaxBytes int
	// Of one destination Burst probes may be made at once (32), and another each Every
	// (250 ms).
	Burst int
	Every time.Duration
	// Own is told the cookie of each socket before it connects, so that its packets pass
	// unjudged; what it returns is called when the socket is closed. nil: nobody is told.
	Own func(cookie uint64) (closed func(), err error)
}

func (c *Config) setDefaults() {
	number := func(n *int, standard int) {
		if *n <= 0 {
			*n = standard
		}
	}
	duration := func(d *time.Duration, standard time.Duration) {
		if *d <= 0 {
			*d = standard
		}
	}
	number(&c.Running, 64)
	number(&c.Waiting, 1024)
	number(&c.MaxEntries, 4096)
	number(&c.MaxBytes, 8<<20)
	number(&c.Burst, 32)
	duration(&c.Timeout, 5*time.Second)
	duration(&c.KeepFor, 5*time.Minute)
	duration(&c.KeepFailureFor, 10*time.Second)
	duration(&c.Every, 250*time.Millisecond)
}

// Question is about a server, for a connection that waits.
type Question struct {
	Server certificate.Server
	// Source is the connection's own address, from which the server is asked.
	Source netip.Addr
	// Device is the interface that the probe is bound to; empty: none.
	Device string
}

// Answer is what became of a question.
type Answer struct {
	// Shown is what the server showed; nil where Outcome is not Seen.
	Shown *certificate.Shown
	// Outcome is that of the probe, also where it was an earlier one.
	Outcome Outcome
	// Cached: it was.
	Cached bool
}

// Fact is the answer as rules have it.
func (a *Answer) Fact() policy.Fact[policy.CertificateFacts] {
	if a.Shown == nil {
		return policy.Lost[policy.CertificateFacts](a.Outcome.Cause())
	}
	return policy.Is(a.Shown.Facts)
}

// Prober makes probes. Its methods may be called at the same time.
type Prober struct {
	config Config
	slots  chan struct{}
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	flights map[certificate.Server][]func(Answer)
	cache   *certificate.Cache[Answer]
	rates   *rates
	counts  [outcomes]uint64
	cached  uint64
	joined  uint64
	closed  bool
	running sync.WaitGroup
}

// New makes a prober.
func New(c Config) *Prober {
	c.setDefaults()
	p := &Prober{
		config: c, slots: make(chan struct{}, c.Running), flights: map[certificate.Server][]func(Answer){},
		cache: certificate.NewCache[Answer](c.MaxEntries, c.MaxBytes), rates: newRates(c.Burst, c.Every),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Ask asks which certificate a server has. Where that is known already, or will not be
// found out, the answer comes at once; else then is called with it, once, by another
// goroutine. It is not called any more when the prober is closed.
func (p *Prober) Ask(q *Question, then func(Answer)) (answer Answer, now bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	if a, ok := p.cache.Get(q.Server, at); ok {
		p.cached++
		a.Cached = true
		return a, true
	}
	if waiting, ok := p.flights[q.Server]; ok {
		p.joined++
		p.flights[q.Server] = append(waiting, then)
		return Answer{}, false
	}
	switch {
	case p.closed:
		return p.refuse(Stopped), true
	case len(p.flights) >= p.config.Running+p.config.Waiting:
		return p.refuse(Busy), true
	case !p.rates.take(q.Server.Address, at):
		return p.refuse(RateLimited), true
	}
	p.flights[q.Server] = []func(Answer){then}
	p.running.Go(func() { p.fly(*q) })
	return Answer{}, false
}

// refuse answers without a probe.
func (p *Prober) refuse(o Outcome) Answer {
	p.counts[o]++
	return Answer{Outcome: o}
}

// fly makes a probe, and tells those who wait for it.
func (p *Prober) fly(q Question) {
	ctx, cancel := context.WithTimeout(p.ctx, p.config.Timeout)
	defer cancel()
	a := Answer{Outcome: Busy}
	select {
	case p.slots <- struct{}{}:
		a = p.probe(ctx, &q)
		<-p.slots
	case <-ctx.Done():
	}
	p.mu.Lock()
	waiting := p.flights[q.Server]
	delete(p.flights, q.Server)
	closed := p.closed
	if !closed {
		p.counts[a.Outcome]++
		p.remember(q.Server, a)
	}
	p.mu.Unlock()
	if closed {
		return
	}
	for _, then := range waiting {
		then(a)
	}
}

func (p *Prober) remember(s certificate.Server, a Answer) {
	const failure = 256 // bytes, with the key
	switch {
	case a.Outcome == Busy, a.Outcome == Failed:
		return // which tells nothing of the server
	case a.Shown == nil:
		p.cache.Put(s, a, failure, time.Now().Add(p.config.KeepFailureFor))
		return
	}
	p.cache.Put(s, a, a.Shown.Size(), time.Now().Add(p.config.KeepFor))
}

// Close ends all probes and waits for that.
func (p *Prober) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.running.Wait()
}
