package engine

import (
	"net/netip"
	"time"
)

// InspectConfig says what is looked for inside connections, and how long.
type InspectConfig struct {
	// Events are the exchanges that are wanted. Those that were blocked are told
	// in any case.
	Events ExchangeKinds
	// HeaderNames are the headers of requests that are wanted, in lower case.
	HeaderNames []string
	// Query and Answers: query strings and the data of DNS answers are wanted.
	Query, Answers bool
	// MaxBytes is how many bytes of a direction of a connection are looked at for a
	// fact.
	MaxBytes int
	// MaxWait is how long a packet is held at most, LateWait how long a fact may
	// take that comes late (SSH logins).
	MaxWait, LateWait time.Duration
	// Resolvers are those whose answers name addresses. Without any, they are the
	// host's (resolv.conf), as they change.
	Resolvers []netip.AddrPort
}

// ExchangeKinds is a set of kinds of exchanges.
type ExchangeKinds struct{ HTTP, TLS, DNS, SSH bool }

// Any says whether the set has any.
func (k ExchangeKinds) Any() bool { return k.HTTP || k.TLS || k.DNS || k.SSH }
