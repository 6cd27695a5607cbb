package engine

import (
	"net/netip"
	"runtime"
	"time"

	"github.com/weirnet/weir/internal/engine/inspector"
)

// Report says what is told of what was said inside connections.
type Report = inspector.Report

// InspectConfig says what is looked for inside connections, and how long.
type InspectConfig struct {
	// Report is told. What the rules ask for is found out besides.
	Report Report
	// ReportBlocked: so is what a rule about it blocks, of any protocol. It costs no
	// look into connections that no such rule is about.
	ReportBlocked bool
	// MaxBytes is how much of one direction of a connection is kept at most; 0: the
	// inspector's default.
	MaxBytes int
	// MaxWait is how long a packet is held at most, LateWait how long a fact may
	// take that comes late (SSH logins). In a replay nothing waits.
	MaxWait, LateWait time.Duration
	// Queues is how many threads judge what is held; 0: by the number of processors. A
	// replay has one.
	Queues int
	// CertificateProbe: where a policy is enforced, servers are asked for certificates
	// that TLS 1.3 hides. A replay asks nobody.
	CertificateProbe bool
	// SSHServers are the files that are sshd, which is believed about logins; none:
	// DefaultSSHServers. Logins is how Weir hears what it says.
	SSHServers []string
	Logins     LoginSource
	// Resolvers are the servers whose DNS answers are believed, for rules with domains
	// or destination_names. Without any they are the host's, as they change; in a
	// replay, all servers at port 53.
	Resolvers []netip.AddrPort
	// NamesFile keeps, over restarts, the names that DNS has answered; empty: they are
	// not kept. A replay keeps none.
	NamesFile string
}

// MaxQueues is the most that InspectConfig.Queues can be: what may be held together is
// divided among them.
const MaxQueues = 64

// queues is how many threads judge what is held. Half of the processors are left to who
// sends the packets, and receives them.
func (c *InspectConfig) queues() int {
	if c.Queues > 0 {
		return min(c.Queues, MaxQueues)
	}
	return min(max(runtime.GOMAXPROCS(0)/2, 1), 8)
}

// report is what the inspector makes records of.
func (c *InspectConfig) report() Report {
	r := c.Report
	if c.ReportBlocked {
		r.HTTP, r.TLS, r.DNS, r.SSH = true, true, true, true
	}
	return r
}
