package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dnsTalks are with a resolver.
var dnsTalks = []talk{
	{
		name: "dig by UDP", transport: "udp", port: 8021, protocol: "dns", run: digs("+notcp"), connections: 2,
		exchanges: []said{
			query("udp", "www.example.com", "A", "NOERROR", "", with("dns.answers", []any{"192.0.2.1"})),
			query("udp", "ads.tracker.example", "AAAA", "NXDOMAIN", "no-tracker", without("dns.answers")),
		},
	},
	{
		name: "dig by TCP", transport: "tcp", port: 8022, protocol: "dns", run: digs("+tcp", "+keepopen"),
		exchanges: []said{
			query("tcp", "www.example.com", "A", "NOERROR", "", with("dns.answers", []any{"192.0.2.1"})),
			query("tcp", "ads.tracker.example", "AAAA", "NXDOMAIN", "no-tracker", without("dns.answers")),
		},
		action: "allow", rule: "names",
	},
	{
		name: "dig by TLS", transport: "tcp", port: 8023, protocol: "tls", run: digs("+tls", "+keepopen"),
		exchanges: []said{handshake("1.3", "block", "", without("weir.tls.server_name"), with("tls.next_protocol", "dot"))},
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
  local-data: "www.example.com. 60 A 192.0.2.1"
  local-zone: tracker.example. static
remote-control:
  control-enable: no
`, at.Addr(), at.Port(), certificateFile(t), dir)
	if err := os.WriteFile(filepath.Join(dir, "unbound.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	h.spawn(t, h.command(t, unbound, "-d", "-c", filepath.Join(dir, "unbound.conf")))
	h.awaitListening(t, at)
}

// digs asks two questions.
func digs(options ...string) func(*testing.T, passage, netip.AddrPort) {
	return func(t *testing.T, p passage, at netip.AddrPort) {
		dig := tool(t, "dig")
		p.to.serveDNS(t, at)
		arguments := append([]string{"@" + at.Addr().String(), "-p", fmt.Sprint(at.Port()), "+short", "+tries=1"}, options...)
		arguments = append(arguments, "www.example.com", "A", "ads.tracker.example", "AAAA")
		out, err := p.from.output(t, dig, arguments...)
		if err != nil || strings.TrimSpace(out) != "192.0.2.1" {
			t.Fatalf("dig says %q, %v", out, err)
		}
	}
}
