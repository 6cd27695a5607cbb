package probe

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/inspect/tls/certificate"
	"github.com/weirnet/weir/internal/policy"
)

// Outcome is what became of a probe.
type Outcome uint8

// The outcomes.
const (
	Seen        Outcome = iota // the server showed its certificate
	Refused                    // it takes no connections
	Unreachable                // there is no way to it, or none from that source address
	TimedOut                   // it did not answer in time
	Broken                     // the handshake failed, or it speaks no TLS
	Malformed                  // a certificate cannot be read
	TooLong                    // it said more than a handshake takes
	RateLimited                // the destination was asked too often
	Busy                       // too many probes wait for their turn, or it did not come in time
	Stopped                    // the prober was closed
	Failed                     // the socket could not be set up
	outcomes
)

var outcomeNames = [outcomes]string{
	"seen", "refused", "unreachable", "timeout", "handshake", "malformed", "too_long", "rate_limited", "busy", "stopped", "failed",
}

// String names the outcome.
func (o Outcome) String() string { return outcomeNames[o] }

// Cause is why there is no certificate, in the words of on_error.
func (o Outcome) Cause() policy.Cause {
	switch o {
	case TimedOut, TooLong:
		return policy.Limit
	case Malformed:
		return policy.Malformed
	case RateLimited, Busy:
		return policy.Overload
	}
	return policy.NotSeen
}

// outcomeOf says why a probe failed. Of what goes wrong with certificates and lengths
// crypto/tls has no errors of types.
func outcomeOf(err error) Outcome {
	var network net.Error
	text := err.Error()
	switch {
	case errors.Is(err, errTooLong), strings.Contains(text, "exceeds maximum of"):
		return TooLong
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &network) && network.Timeout():
		return TimedOut
	case errors.Is(err, context.Canceled):
		return Stopped
	case errors.As(err, new(certificate.MalformedError)), strings.Contains(text, "failed to parse certificate"),
		strings.Contains(text, "certificate containing RSA key larger"):
		return Malformed
	case errors.Is(err, errSetUp):
		return Failed
	case errors.Is(err, unix.ECONNREFUSED):
		return Refused
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EADDRNOTAVAIL),
		errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL):
		return Unreachable
	}
	return Broken
}

// Stats are what became of questions.
type Stats struct {
	// Running probes are under way, or wait for their turn. Remembered is the number of
	// answers that are kept.
	Running, Remembered int
	// Probes counts them by outcome; those that were not made are among them.
	Probes map[string]uint64
	// Questions that needed no probe of their own: Cached were answered by an earlier
	// one, Joined by one that was under way.
	Cached, Joined uint64
}

// Stats takes a snapshot of the counters.
func (p *Prober) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{Running: len(p.flights), Remembered: p.cache.Len(), Probes: map[string]uint64{}, Cached: p.cached, Joined: p.joined}
	for o, n := range p.counts {
		s.Probes[Outcome(o).String()] = n
	}
	return s
}
