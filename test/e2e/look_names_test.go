package e2e

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// TestLookNames: what the resolver answers names the addresses that are connected to
// afterwards, also after a restart; what other servers answer does not.
func TestLookNames(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := passage{"outbound", l.a, l.b, l.address(l.b, ipv4, 0)}
	at := netip.AddrPortFrom(p.at, 8021)
	policy := newPolicy(t, `
mode: detect
rules:
  - {name: by-destination, action: allow, layer3: {destination_names: [www.example.com]}, layer4: {tcp: 9001}}
  - {name: by-domain, action: allow, layer4: {tcp: 9002}, layer7: {domains: [.example.com]}}
`)
	// The state directory is the extension's, where it is made.
	states := filepath.Join(t.TempDir(), "state")
	w := start(t, l.a, config{policy: string(policy), receiver: fmt.Sprintf("names: {resolvers: ['%v'], state_directory: %q}\non_shutdown: unload", at, states)})
	w.partial = true
	p.to.serveDNSFor(t, at, p.at)
	listening := map[uint16]bool{}
	// connected says which rule decides a connection to a port.
	connected := func(port uint16) string {
		t.Helper()
		to := netip.AddrPortFrom(p.at, port)
		if !listening[port] {
			p.to.listenTCP(t, to)
			listening[port] = true
		}
		c := p.from.dial(t, to)
		if port == 9002 {
			// Whether it says a domain of its own is known when it has said something.
			if _, err := io.WriteString(c, "this names nobody\n"); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
		return w.awaitRecord(t, "its end", func(r record) bool {
			return r.event == "weir.connection.end" && r.num("destination.port") == int64(port) && r.num("source.port") == int64(portOf(c.LocalAddr().String()))
		}).str("security_rule.name")
	}
	if rule := connected(9001); rule != "" {
		t.Errorf("before anybody asked: %q", rule)
	}
	// A server that is no resolver says the same.
	other := netip.AddrPortFrom(p.at, 8025)
	p.to.serveDNSFor(t, other, p.at)
	p.from.dig(t, other)
	w.awaitRecord(t, "the query to another server", func(r record) bool { return r.event == "weir.dns.query" && r.num("destination.port") == 8025 })
	if rule := connected(9001); rule != "" {
		t.Errorf("what a stranger answered is believed: %q", rule)
	}
	p.from.dig(t, at)
	w.awaitRecord(t, "the query", func(r record) bool { return r.event == "weir.dns.query" && r.num("destination.port") == 8021 })
	for range 2 {
		if rule := connected(9001); rule != "by-destination" {
			t.Errorf("destination_names: %q", rule)
		}
		if rule := connected(9002); rule != "by-domain" {
			t.Errorf("domains: %q", rule)
		}
		w.stop(t)
		saved := filepath.Join(states, "ebpf_connection.names")
		if info, err := os.Stat(saved); err != nil || info.Mode() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
		w.restart(t)
	}
}

func portOf(address string) uint16 { return netip.MustParseAddrPort(address).Port() }

// dig asks a server for www.example.com.
func (h *host) dig(t *testing.T, at netip.AddrPort) {
	t.Helper()
	out, err := h.output(t, tool(t, "dig"), "@"+at.Addr().String(), "-p", fmt.Sprint(at.Port()), "+short", "+tries=1", "www.example.com", "A")
	if err != nil {
		t.Fatalf("dig says %q, %v", out, err)
	}
}
