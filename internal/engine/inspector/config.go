package inspector

import (
	"time"

	"github.com/weirnet/weir/internal/inspect/stream"
	"github.com/weirnet/weir/internal/inspect/tls/certificate"
	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/policy"
)

// Report says what is told in records. What the policy asks for is read besides.
type Report struct {
	// HTTP, TLS (QUIC is with it), DNS and SSH: a record for each request, handshake
	// or query.
	HTTP, TLS, DNS, SSH bool
	// Query: the query strings of requests.
	Query bool
	// Headers are the headers of requests that are told, in lower case.
	Headers []string
	// Answers: the records of DNS answers.
	Answers bool
}

// Config is what an inspector is made with. Zero stands for the default.
type Config struct {
	Report Report
	// MaxBytes is how much of one direction of a connection is kept at most before
	// there is an answer: 12288. Beyond it, facts cannot be had (policy.Limit).
	MaxBytes int
	// Streams bounds what all connections hold together, and their number.
	Streams stream.Limits
	// MaxHeld bounds what parsers and requests without a response hold, of all
	// connections: 64 MiB.
	MaxHeld int
	// MaxQueries is the number of DNS queries that wait for an answer (16384), and
	// QueryTimeout for how long each does (10 s).
	MaxQueries   int
	QueryTimeout time.Duration
	// Idle is how long a connection without packets is remembered of which no end is
	// told: 2 h.
	Idle time.Duration
	// Asks: somebody answers Questions.
	Asks bool
	// Logins tells of logins to this host's SSH server; nil: nobody does. LateWait is
	// for how long they are waited for: 150 s.
	Logins   Logins
	LateWait time.Duration
	// OnForget, where set, is called with each connection that is forgotten: it is over,
	// or gave way to others. It must not call the inspector.
	OnForget func(id uint64)
	// Names learns from DNS answers where the policy needs it; nil: nothing is
	// learned.
	Names *names.Table
	// Shown remembers the certificates that the wire has shown; nil: a cache of its own.
	Shown *Shown
	// Sharers is how many inspectors look into connections side by side: each takes its
	// part of what all may hold together. 0: one.
	Sharers int
}

// Shown are certificates that the wire has shown, for sessions that are resumed.
type Shown = certificate.Cache[*certificate.Shown]

// NewShown makes an empty cache.
func NewShown() *Shown {
	return certificate.NewCache[*certificate.Shown](rememberEntries, rememberBytes)
}

func (c *Config) setDefaults() {
	fill := func(n *int, standard int) {
		if *n <= 0 {
			*n = standard
		}
	}
	fill(&c.MaxBytes, 12288)
	fill(&c.MaxHeld, 64<<20)
	fill(&c.MaxQueries, 16384)
	fill(&c.Streams.Bytes, stream.DefaultLimits.Bytes)
	fill(&c.Streams.Connections, stream.DefaultLimits.Connections)
	for _, all := range []*int{&c.MaxHeld, &c.MaxQueries, &c.Streams.Bytes, &c.Streams.Connections} {
		*all /= max(c.Sharers, 1)
	}
	if c.Shown == nil {
		c.Shown = NewShown()
	}
	if c.QueryTimeout <= 0 {
		c.QueryTimeout = 10 * time.Second
	}
	if c.LateWait <= 0 {
		c.LateWait = 150 * time.Second
	}
	if c.Idle <= 0 {
		c.Idle = 2 * time.Hour
	}
	if c.Streams.Kept == 0 {
		c.Streams.Kept = c.MaxBytes
	}
	if c.Streams.Waiting == 0 {
		c.Streams.Waiting = min(max(stream.DefaultLimits.Waiting, c.MaxBytes), stream.MaxWaiting)
	}
}

// reports says whether there is a record of what a protocol says.
func (r *Report) reports(app policy.Application) bool {
	return r.HTTP && app&policy.AppHTTP != 0 || r.TLS && app&(policy.AppTLS|policy.AppQUIC) != 0 ||
		r.DNS && app&policy.AppDNS != 0 || r.SSH && app&policy.AppSSH != 0
}
