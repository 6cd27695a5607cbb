package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// dnsTalks are with a resolver.
var dnsTalks = []talk{
	{
		name: "dig by UDP", transport: "udp", port: 8021, protocol: "dns", run: digs("+notcp", "www.example.com", "A"),
		exchanges: []said{query("udp", "www.example.com", "A", "NOERROR", "", with("dns.answers", []any{"192.0.2.1"}))},
		action:    "allow", rule: "names",
	},
	{
		name: "dig by UDP for a blocked name", transport: "udp", port: 8024, protocol: "dns", run: digs("+notcp", "ads.tracker.example", "AAAA"),
		exchanges: []said{query("udp", "ads.tracker.example", "AAAA", "NXDOMAIN", "no-tracker")},
		undecided: true, // a query does not decide on more than itself when it is blocked
	},
	{
		name: "dig by TCP", transport: "tcp", port: 8022, protocol: "dns", run: digs("+tcp", "+keepopen", "www.example.com", "A", "ads.tracker.example", "AAAA"),
		exchanges: []said{
			query("tcp", "www.example.com", "A", "NOERROR", "", with("dns.answers", []any{"192.0.2.1"})),
			query("tcp", "ads.tracker.example", "AAAA", "NXDOMAIN", "no-tracker"),
		},
		action: "block", rule: "no-tracker", // that query cannot be taken out of its stream: the connection would be cut
	},
	{
		name: "dig by TLS", transport: "tcp", port: 8023, protocol: "tls", run: digs("+tls", "+keepopen", "www.example.com", "A", "ads.tracker.example", "AAAA"),
		exchanges: []said{handshake("1.3", "block", "", without("weir.tls.server_name"))},
		action:    "block",
	},
}

func query(transport, name, kind, code, rule string, changes ...change) said {
	s := said{action: "allow", rule: "names", attributes: map[string]any{
		"event": "weir.dns.query", "network.protocol.name": "dns", "dns.question.name": name, "weir.dns.question.type": kind,
		"weir.dns.response_code": code, "weir.dns.transport": transport, "weir.dns.service": "dns",
	}}
	if rule != "" {
		s.action, s.rule = "block", rule
	}
	for _, c := range changes {
		c(s.attributes)
	}
	return s
}

// serveDNS runs unbound.
func (h *host) serveDNS(t *testing.T, at netip.AddrPort) {
	t.Helper()
	h.serveDNSFor(t, at, netip.MustParseAddr("192.0.2.1"))
}

// serveDNSFor runs unbound, with an IPv4 address for www.example.com.
func (h *host) serveDNSFor(t *testing.T, at netip.AddrPort, www netip.Addr) {
	t.Helper()
	unbound := tool(t, "unbound")
	dir := t.TempDir()
	config := fmt.Sprintf(`
server:
  interface: %[1]v@%[2]d
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  tls-port: 8023
  tls-service-key: %[3]q
  tls-service-pem: %[3]q
  username: ""
  chroot: ""
  directory: %[4]q
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  module-config: "iterator"
  local-zone: example.com. static
  local-data: "www.example.com. 60 A %[5]v"
  local-zone: tracker.example. static
remote-control:
  control-enable: no
`, at.Addr(), at.Port(), certificateFile(t), dir, www)
	if err := os.WriteFile(filepath.Join(dir, "unbound.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	h.spawn(t, h.command(t, unbound, "-d", "-c", filepath.Join(dir, "unbound.conf")))
	h.awaitListening(t, at)
}

// digs asks questions.
func digs(options ...string) func(*testing.T, passage, netip.AddrPort) {
	return func(t *testing.T, p passage, at netip.AddrPort) {
		dig := tool(t, "dig")
		p.to.serveDNS(t, at)
		arguments := append([]string{"@" + at.Addr().String(), "-p", fmt.Sprint(at.Port()), "+short", "+tries=1"}, options...)
		out, err := p.from.output(t, dig, arguments...)
		answer := "192.0.2.1\n"
		if !slices.Contains(options, "www.example.com") {
			answer = ""
		}
		if err != nil || out != answer {
			t.Fatalf("dig says %q, %v", out, err)
		}
	}
}
