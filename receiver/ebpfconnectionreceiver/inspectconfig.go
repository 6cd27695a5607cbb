package ebpfconnectionreceiver

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/weirnet/weir/internal/engine"
)

// InspectConfig bounds what is looked for inside connections.
type InspectConfig struct {
	// MaxBytes is how many bytes of each direction of a connection are looked at for
	// a fact.
	MaxBytes int `mapstructure:"max_bytes"`
	// MaxWait is how long a packet waits at most for facts; LateWait how long those
	// may take that come late, after a login.
	MaxWait  time.Duration `mapstructure:"max_wait"`
	LateWait time.Duration `mapstructure:"late_wait"`
	// Queues is how many threads judge what waits; 0: half as many as there are
	// processors, at most 8.
	Queues int `mapstructure:"queues"`
	// CertificateProbe says whether servers are asked for certificates that TLS 1.3
	// hides, where a policy that is enforced needs them: auto (they are) or off.
	CertificateProbe string    `mapstructure:"certificate_probe"`
	SSH              SSHConfig `mapstructure:"ssh"`
}

// Values of InspectConfig.CertificateProbe.
const (
	certificateProbeAuto = "auto"
	certificateProbeOff  = "off"
)

// SSHConfig is about logins to this host's SSH server, for rules with ssh.public_keys.
type SSHConfig struct {
	// Servers are the executables of sshd, which is believed about who logs in. Without
	// any they are those of OpenSSH where distributions have them.
	Servers []string `mapstructure:"servers"`
	// Source is how Weir hears what sshd says: kernel, journald or auto.
	Source string `mapstructure:"source"`
}

// loginSources has the values of SSHConfig.Source.
var loginSources = map[string]engine.LoginSource{
	loginsAuto: engine.LoginsAuto,
	"kernel":   engine.LoginsKernel,
	"journald": engine.LoginsJournal,
}

const loginsAuto = "auto"

// RecordConfig switches on what is not told of by default, since it may hold
// secrets.
type RecordConfig struct {
	HTTP RecordHTTPConfig `mapstructure:"http"`
	DNS  RecordDNSConfig  `mapstructure:"dns"`
}

// RecordHTTPConfig is what is told of HTTP requests.
type RecordHTTPConfig struct {
	// Query: url.query.
	Query bool `mapstructure:"query"`
	// RequestHeaders are names of headers; each becomes http.request.header.<name>.
	RequestHeaders []string `mapstructure:"request_headers"`
}

// RecordDNSConfig is what is told of DNS queries.
type RecordDNSConfig struct {
	// Answers: dns.answers.
	Answers bool `mapstructure:"answers"`
}

// NamesConfig says from whom is learned which names addresses have.
type NamesConfig struct {
	// Resolvers are addresses, with a port or not (53). Without any they are the
	// host's.
	Resolvers []string `mapstructure:"resolvers"`
	// Keep says that what is learned outlives a restart.
	Keep bool `mapstructure:"keep"`
	// StateDirectory is the folder for that; empty: systemd's, else /var/lib/weir.
	StateDirectory string `mapstructure:"state_directory"`
}

var (
	_ confmap.Validator = (*InspectConfig)(nil)
	_ confmap.Validator = (*SSHConfig)(nil)
	_ confmap.Validator = (*RecordHTTPConfig)(nil)
	_ confmap.Validator = (*NamesConfig)(nil)
)

// Bounds of InspectConfig. A hello with keys against quantum computers has up to
// 3 kB; what is beyond a megabyte is no request but an attempt.
const (
	minInspectBytes = 1 << 10
	maxInspectBytes = 1 << 20
	minInspectWait  = 100 * time.Millisecond
)

// Validate checks the bounds.
func (c *InspectConfig) Validate() error {
	var errs []error
	if c.MaxBytes < minInspectBytes || c.MaxBytes > maxInspectBytes {
		errs = append(errs, fmt.Errorf("max_bytes: %d is not accepted: want %d to %d", c.MaxBytes, minInspectBytes, maxInspectBytes))
	}
	if c.MaxWait < minInspectWait {
		errs = append(errs, fmt.Errorf("max_wait: %v is too short: want at least %v", c.MaxWait, minInspectWait))
	}
	if c.LateWait < c.MaxWait {
		errs = append(errs, fmt.Errorf("late_wait: %v is too short: want at least max_wait (%v)", c.LateWait, c.MaxWait))
	}
	if c.Queues < 0 || c.Queues > engine.MaxQueues {
		errs = append(errs, fmt.Errorf("queues: %d is not accepted: want 1 to %d, or 0 for half as many as there are processors", c.Queues, engine.MaxQueues))
	}
	switch c.CertificateProbe {
	case certificateProbeAuto, certificateProbeOff:
	default:
		errs = append(errs, fmt.Errorf("certificate_probe: %q is not accepted: want auto or off", c.CertificateProbe))
	}
	return errors.Join(errs...)
}

// maxSSHServers is how many executables can be sshd.
const maxSSHServers = 16

// Validate checks the paths and the source.
func (c *SSHConfig) Validate() error {
	var errs []error
	if _, ok := loginSources[c.Source]; !ok {
		errs = append(errs, fmt.Errorf("source: %q is not accepted: want auto, kernel or journald", c.Source))
	}
	for i, server := range c.Servers {
		if !filepath.IsAbs(server) {
			errs = append(errs, fmt.Errorf("servers::%d: %q is no path from the root: want one such as /usr/sbin/sshd", i, server))
		}
	}
	if len(c.Servers) > maxSSHServers {
		errs = append(errs, fmt.Errorf("servers: want at most %d, found %d", maxSSHServers, len(c.Servers)))
	}
	return errors.Join(errs...)
}

// maxRequestHeaders is how many headers can be told of.
const maxRequestHeaders = 32

// Validate checks the names of headers.
func (c *RecordHTTPConfig) Validate() error {
	var errs []error
	seen := make(map[string]struct{})
	for i, name := range c.RequestHeaders {
		lower := strings.ToLower(name)
		_, twice := seen[lower]
		switch {
		case !isToken(name):
			errs = append(errs, fmt.Errorf("request_headers::%d: %q is no name of a header: want letters, digits and -, as in x-request-id", i, name))
		case twice:
			errs = append(errs, fmt.Errorf("request_headers::%d: %q is there twice", i, name))
		}
		seen[lower] = struct{}{}
	}
	if len(c.RequestHeaders) > maxRequestHeaders {
		errs = append(errs, fmt.Errorf("request_headers: want at most %d, found %d", maxRequestHeaders, len(c.RequestHeaders)))
	}
	return errors.Join(errs...)
}

// headerNames are the names in lower case.
func (c *RecordHTTPConfig) headerNames() []string {
	var names []string
	for _, name := range c.RequestHeaders {
		names = append(names, strings.ToLower(name))
	}
	return names
}

// isToken says whether s can be the name of a header (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// Validate checks the addresses.
func (c *NamesConfig) Validate() error {
	_, err := c.resolvers()
	return err
}

// defaultStateDirectory is used where neither the settings nor systemd name one.
const defaultStateDirectory = "/var/lib/weir"

// file is where the names are kept that a receiver learns; empty: they are not.
func (c *NamesConfig) file(id component.ID) string {
	if !c.Keep {
		return ""
	}
	folder := c.StateDirectory
	if folder == "" {
		// systemd separates several by colons (systemd.exec(5)).
		folder, _, _ = strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	}
	if folder == "" {
		folder = defaultStateDirectory
	}
	return filepath.Join(folder, strings.ReplaceAll(id.String(), "/", "_")+".names")
}

// dnsPort is where resolvers answer.
const dnsPort = 53

func (c *NamesConfig) resolvers() ([]netip.AddrPort, error) {
	var (
		resolvers []netip.AddrPort
		errs      []error
	)
	for i, text := range c.Resolvers {
		resolver, err := netip.ParseAddrPort(text)
		if err != nil {
			var address netip.Addr
			address, err = netip.ParseAddr(text)
			resolver = netip.AddrPortFrom(address, dnsPort)
		}
		address := resolver.Addr()
		if err != nil || resolver.Port() == 0 || address.IsUnspecified() || address.IsMulticast() {
			errs = append(errs, fmt.Errorf("resolvers::%d: %q is no address of a resolver: want one such as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53", i, text))
			continue
		}
		resolvers = append(resolvers, netip.AddrPortFrom(address.Unmap(), resolver.Port()))
	}
	return resolvers, errors.Join(errs...)
}
